/** What this package uses of the host beside the language: not all of it is there on every host. */
export interface Host {
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  readonly performance: { now(): number };
  /** Hosts with Node's modules: Node, and those that follow it. */
  readonly process?: {
    readonly versions?: { readonly node?: string };
    getBuiltinModule?(name: string): object | undefined;
  };
  readonly navigator?: { readonly hardwareConcurrency?: number };
  readonly Worker?: new (url: string) => WebWorker;
  readonly Blob?: new (parts: readonly string[], options: { readonly type: string }) => object;
  readonly URL?: { createObjectURL(blob: object): string; revokeObjectURL(url: string): void };
}

/** A worker of a browser. */
export interface WebWorker {
  addEventListener(kind: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(
    kind: "error" | "messageerror",
    listener: (event: { readonly message?: string }) => void,
  ): void;
  postMessage(message: unknown, transfer: readonly object[]): void;
  terminate(): void;
}

/** A worker thread of Node. */
export interface NodeWorker {
  on(kind: "message", listener: (message: unknown) => void): void;
  on(kind: "error", listener: (error: unknown) => void): void;
  on(kind: "exit", listener: () => void): void;
  unref(): void;
  terminate(): Promise<unknown>;
}

/** The part of `node:worker_threads` that is used here. */
export interface NodeThreads {
  readonly Worker: new (
    text: string,
    options: {
      readonly eval: true;
      readonly workerData: object;
      readonly execArgv: readonly string[];
    },
  ) => NodeWorker;
}

/** The host's globals. */
export function host(): Host {
  return globalThis as unknown as Host;
}

/** A module of Node, asked for in a way that no bundler follows; `undefined` elsewhere. */
export function nodeModule<Module extends object>(name: string): Module | undefined {
  const { process } = host();
  if (typeof process?.versions?.node !== "string") return undefined;
  return process.getBuiltinModule?.(name) as Module | undefined;
}

/** How many threads the machine runs at once. */
export function availableThreads(): number {
  const os = nodeModule<{ availableParallelism(): number }>("node:os");
  return os?.availableParallelism() ?? host().navigator?.hardwareConcurrency ?? 1;
}

/** Milliseconds from some point in the past. */
export function now(): number {
  return host().performance.now();
}

/** The promise's result; rejects where it does not settle in time. */
export async function within<Result>(ms: number, promise: Promise<Result>): Promise<Result> {
  let timer: unknown;
  // The timer also keeps Node alive: what it waits for does not.
  const late = new Promise<never>((_, reject) => {
    timer = host().setTimeout(() => reject(new Error(`nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    host().clearTimeout(timer);
  }
}
