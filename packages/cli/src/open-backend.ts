import { type Backend, ConfigError } from "@moiety/core";
import { type BackendChoice, type Candidate, builtInBackends, builtInNames } from "./backends.ts";

export type { BackendChoice, BackendDetails, Candidate } from "./backends.ts";

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

/** The name that leaves the choice to the program. */
export const automatic = "auto";

/** Names that `--backend` takes. */
export const backendNames: readonly string[] = [automatic, ...builtInNames];

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
  known: Readonly<Record<string, Candidate>> = builtInBackends,
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
