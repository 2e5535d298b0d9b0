import { existsSync, readdirSync } from "node:fs";
import type { Backend } from "@moiety/core";

/** What the command line says of the backend. */
export interface BackendChoice {
  /** A name, or `auto` for the fastest that works here. */
  readonly name: string;
  /** Threads of the WebAssembly backend; as many as the machine runs at once unless given. */
  readonly threads?: number | undefined;
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

/** What a backend tells of where it computes. */
export type BackendDetails = NonNullable<Backend["capabilities"]["details"]>;

/** A backend that is at hand by its name. */
export interface BuiltInBackend extends Candidate {
  readonly package: string;
  /** Loaded when it is asked for, so that no command waits for a backend it does not use. */
  load(): Promise<{ readonly default: () => Promise<Backend> }>;
}

/** The backends by their names, the fastest first. */
export const builtInBackends: Readonly<Record<string, BuiltInBackend>> = {
  webgpu: {
    package: "@moiety/backend-webgpu",
    load: () => import("@moiety/backend-webgpu"),
    open: async () => (await import("@moiety/backend-webgpu")).default(),
    worker({ adapter, software }) {
      return software === true ? `${adapter}, software: no GPU does the work` : String(adapter);
    },
    missing: missingDriver,
    unfit: ({ adapter, software }) => (software === true ? `${adapter} is software` : undefined),
  },
  wasm: {
    package: "@moiety/backend-wasm",
    load: () => import("@moiety/backend-wasm"),
    open: async ({ threads }) => (await import("@moiety/backend-wasm")).default({ threads }),
    threaded: true,
    worker({ threads, threadsNote, exact }) {
      const count = threads === 1 ? "1 thread" : `${threads} threads`;
      const why = threadsNote === undefined ? "" : ` (${threadsNote})`;
      return `${count}${why}, ${exact === true ? "SIMD" : "relaxed SIMD"}`;
    },
  },
  cpu: {
    package: "@moiety/backend-cpu",
    load: () => import("@moiety/backend-cpu"),
    open: async () => (await import("@moiety/backend-cpu")).default(),
    worker: () => "the reference, written to be read and slow",
  },
};

/** Their names. */
export const builtInNames: readonly string[] = Object.keys(builtInBackends);

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
