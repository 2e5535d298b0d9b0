import { existsSync, readdirSync } from "node:fs";
import { type Backend, ConfigError } from "@moiety/core";

/** What the command line says of the backend. */
export interface BackendChoice {
  /** A name, or `auto` for the fastest that works here. */
  readonly name: string;
  /** Threads of the WebAssembly backend; as many as the machine runs at once unless given. */
  readonly threads?: number | undefined;
}

/** A backend that works. */
export interface OpenedBackend {
  readonly backend: Backend;
  /** Its name, never `auto`. */
  readonly name: string;
  /** What does the work: `wasm, 2 threads, relaxed SIMD`. */
  readonly worker: string;
  /** The same in a line, with why it is not a faster one. */
  readonly line: string;
}

/** A backend that may be tried. */
export interface Candidate {
  /** Rejects where the machine lacks what the backend needs. */
  open(choice: BackendChoice): Promise<Backend>;
  /** What does the work, in some words. */
  worker(details: BackendDetails): string;
  /** Why there is no point in opening it unasked. */
  missing?(): string | undefined;
  /** Why it is not to be taken unasked, though it works. */
  unfit?(details: BackendDetails): string | undefined;
  /** Whether it computes on threads that can be counted. */
  readonly threaded?: boolean;
}

type BackendDetails = NonNullable<Backend["capabilities"]["details"]>;

/** The name that leaves the choice to the program. */
export const automatic = "auto";

/** The backends by their names, the fastest first. */
const candidates: Readonly<Record<string, Candidate>> = {
  webgpu: {
    async open() {
      const { default: create } = await import("@moiety/backend-webgpu");
      return create();
    },
    worker({ adapter, software }) {
      return software === true ? `${adapter}, software: no GPU does the work` : String(adapter);
    },
    missing: missingDriver,
    unfit: ({ adapter, software }) => (software === true ? `${adapter} is software` : undefined),
  },
  wasm: {
    threaded: true,
    async open({ threads }) {
      const { default: create } = await import("@moiety/backend-wasm");
      return create({ threads });
    },
    worker({ threads, threadsNote, exact }) {
      const count = threads === 1 ? "1 thread" : `${threads} threads`;
      const why = threadsNote === undefined ? "" : ` (${threadsNote})`;
      return `${count}${why}, ${exact === true ? "SIMD" : "relaxed SIMD"}`;
    },
  },
  cpu: {
    async open() {
      const { default: create } = await import("@moiety/backend-cpu");
      return create();
    },
    worker: () => "the reference, written to be read and slow",
  },
};

/** Names that `--backend` takes. */
export const backendNames: readonly string[] = [automatic, ...Object.keys(candidates)];

/**
 * Makes a backend by its name, or the fastest one that works here: on a hardware WebGPU adapter, else
 * in WebAssembly, else the reference.
 *
 * @param known what there is to choose from, by name, the fastest first.
 * @throws ConfigError for an unknown name, and for options that do not fit the backend.
 * @throws UnsupportedError where the machine lacks what the named backend needs.
 */
export async function openBackend(
  choice: BackendChoice,
  known: Readonly<Record<string, Candidate>> = candidates,
): Promise<OpenedBackend> {
  const { name } = choice;
  if (name === automatic) return openFastest(choice, known);
  const candidate = Object.hasOwn(known, name) ? known[name] : undefined;
  if (candidate === undefined) {
    throw new ConfigError(
      `backend ${name} is unknown: there is ${backendNames.join(", ")}`,
      "backend",
      name,
    );
  }
  if (choice.threads !== undefined && candidate.threaded !== true) {
    throw new ConfigError(
      `--threads ${choice.threads} is nothing to backend ${name}: leave it out`,
      "threads",
      choice.threads,
    );
  }
  const backend = await candidate.open(choice);
  return opened(name, candidate, backend, []);
}

async function openFastest(
  choice: BackendChoice,
  known: Readonly<Record<string, Candidate>>,
): Promise<OpenedBackend> {
  const passed: string[] = [];
  for (const [name, candidate] of Object.entries(known)) {
    // oxlint-disable-next-line no-await-in-loop -- the next is for where this one does not work
    const found = await tryToOpen(candidate, choice);
    if (typeof found !== "string") {
      if (choice.threads !== undefined && candidate.threaded !== true) {
        passed.push("--threads is nothing to it");
      }
      return opened(name, candidate, found, passed);
    }
    passed.push(`no ${name}: ${found}`);
  }
  throw new ConfigError(`there is no backend (${passed.join("; ")})`, "backend", automatic);
}

/** The backend, or why it is not to be taken. */
async function tryToOpen(candidate: Candidate, choice: BackendChoice): Promise<Backend | string> {
  const missing = candidate.missing?.();
  if (missing !== undefined) return missing;
  try {
    const backend = await candidate.open(choice);
    const unfit = candidate.unfit?.(backend.capabilities.details ?? {});
    if (unfit === undefined) return backend;
    await backend.dispose();
    return unfit;
  } catch (error) {
    // The option is wrong, not the machine.
    if (error instanceof ConfigError) throw error;
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    return reason;
  }
}

function opened(
  name: string,
  candidate: Candidate,
  backend: Backend,
  passed: readonly string[],
): OpenedBackend {
  const worker = `${name}, ${candidate.worker(backend.capabilities.details ?? {})}`;
  return { backend, name, worker, line: `backend ${[worker, ...passed].join("; ")}` };
}

/** Where Vulkan drivers register themselves. */
const driverFolders: readonly string[] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/** Loading Dawn where there is no driver ends in its own warnings: nothing to begin a run with. */
function missingDriver(): string | undefined {
  if (process.platform !== "linux") return undefined;
  const { VK_DRIVER_FILES, VK_ICD_FILENAMES } = process.env;
  if (VK_DRIVER_FILES || VK_ICD_FILENAMES) return undefined;
  const registered = driverFolders.some(
    (folder) => existsSync(folder) && readdirSync(folder).some((file) => file.endsWith(".json")),
  );
  return registered ? undefined : "this machine has no Vulkan driver";
}
