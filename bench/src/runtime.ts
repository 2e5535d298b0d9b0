/** What is used of onnxruntime's packages, which lie in this folder's own `node_modules`. */
export interface Runtime {
  readonly env: {
    readonly versions: { readonly node?: string | undefined; readonly web?: string | undefined };
    readonly wasm: { numThreads?: number };
  };
  readonly Tensor: new (type: "float32", data: Float32Array, shape: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<RuntimeSession>;
  };
}

/** A model that can be run. */
export interface RuntimeSession {
  run(
    feeds: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, { readonly data: unknown }>>;
  release(): Promise<void>;
}

/** The packages that hold it. */
export type RuntimePackage = "onnxruntime-node" | "onnxruntime-web";

/** Loads a package: they are installed by the first benchmark, so no compiler may follow the name. */
export async function loadRuntime(name: RuntimePackage): Promise<Runtime> {
  const loaded = (await import(name)) as Runtime & { readonly default?: Runtime };
  return loaded.default ?? loaded;
}

/** A model of one input `x` and one output `y`, in one of the packages, on the CPU. */
export interface CpuModel {
  /** Package and version. */
  readonly name: string;
  run(x: Float32Array, shape: readonly number[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** Starts a model on so many threads. All models of `onnxruntime-web` share theirs. */
export async function cpuModel(
  name: RuntimePackage,
  model: Uint8Array,
  threads: number,
): Promise<CpuModel> {
  const runtime = await loadRuntime(name);
  if (name === "onnxruntime-web") runtime.env.wasm.numThreads = threads;
  const session = await runtime.InferenceSession.create(model, {
    executionProviders: [name === "onnxruntime-web" ? "wasm" : "cpu"],
    logSeverityLevel: 3,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Its threads would go on turning after a run, in the time of whoever runs next.
    extra: { session: { force_spinning_stop: "1" } },
  });
  const { versions } = runtime.env;
  return {
    name: `${name} ${(name === "onnxruntime-web" ? versions.web : versions.node) ?? ""}`.trim(),
    async run(x, shape) {
      const { y } = await session.run({ x: new runtime.Tensor("float32", x, shape) });
      return y?.data as Float32Array;
    },
    dispose: () => session.release(),
  };
}
