import { moeModel } from "./moe-model.ts";
import { loadRuntime } from "./runtime.ts";
import type { HostWeights, LayerSizes } from "./weights.ts";

/** The same layer in onnxruntime-node, on its WebGPU provider. */
export interface Peer {
  /** Version and precision. */
  readonly name: string;
  /** `x [T, H]` on the host → `[T, H]` on the host. */
  run(x: Float32Array): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/**
 * `MatMul` for the router, then `QMoE`: the only form in which the provider has experts. Its weights
 * are 8-bit numbers with a scale for each row; its products round the activations to 8 bits too.
 */
export async function createPeer(weights: HostWeights, sizes: LayerSizes): Promise<Peer> {
  const runtime = await loadRuntime("onnxruntime-node");
  const session = await runtime.InferenceSession.create(moeModel(weights, sizes, "q8_row"), {
    executionProviders: ["webgpu"],
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
    // Without it, what the provider lacks would silently run elsewhere.
    extra: { session: { disable_cpu_ep_fallback: "1" } },
  });
  const version = runtime.env.versions.node ?? "";
  return {
    name: `onnxruntime-node ${version} WebGPU QMoE (8-bit weights and activations)`,
    async run(x) {
      const input = new runtime.Tensor("float32", x, [x.length / sizes.hidden, sizes.hidden]);
      const { y } = await session.run({ x: input });
      return y?.data as Float32Array;
    },
    dispose: () => session.release(),
  };
}
