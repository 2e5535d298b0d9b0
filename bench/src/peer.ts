import { onnxModel } from "./onnx.ts";
import { type HostMatrix, type HostWeights, type LayerSizes, stepOf } from "./weights.ts";

/** The same layer in onnxruntime-node, on its WebGPU provider. */
export interface Peer {
  /** Version and precision. */
  readonly name: string;
  /** `x [T, H]` on the host → `[T, H]` on the host. */
  run(x: Float32Array): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** What is used of `onnxruntime-node`, which lies in this folder's own `node_modules`. */
interface Runtime {
  readonly env: { readonly versions: { readonly node?: string | undefined } };
  readonly Tensor: new (type: "float32", data: Float32Array, shape: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<RuntimeSession>;
  };
}

interface RuntimeSession {
  run(
    feeds: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, { readonly data: unknown }>>;
  release(): Promise<void>;
}

/** A code stands for a whole number this much lower. */
const ZERO_POINT = 128;

/**
 * `MatMul` for the router, then `QMoE`: the only form in which the provider has experts. Its weights
 * are 8-bit numbers with a scale for each row; its products round the activations to 8 bits too.
 */
export async function createPeer(weights: HostWeights, sizes: LayerSizes): Promise<Peer> {
  // A name that the compiler does not follow: the package is installed by the first benchmark.
  const name = "onnxruntime-node";
  const loaded = (await import(name)) as { readonly default: Runtime };
  const runtime = loaded.default;
  const session = await runtime.InferenceSession.create(modelOf(weights, sizes), {
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

function modelOf({ router, gateUp, down }: HostWeights, sizes: LayerSizes): Uint8Array {
  const { hidden, experts, topK } = sizes;
  return onnxModel({
    inputs: [{ name: "x", shape: ["T", hidden] }],
    outputs: [{ name: "y", shape: ["T", hidden] }],
    constants: [
      { name: "router", shape: [hidden, experts], values: transposed(router) },
      { name: "gateUp", shape: gateUp.shape, values: codesOf(gateUp) },
      { name: "gateUpScales", shape: gateUp.shape.slice(0, -1), values: scalesOf(gateUp) },
      { name: "down", shape: down.shape, values: codesOf(down) },
      { name: "downScales", shape: down.shape.slice(0, -1), values: scalesOf(down) },
    ],
    nodes: [
      { op: "MatMul", domain: "", inputs: ["x", "router"], outputs: ["logits"], attributes: {} },
      {
        op: "QMoE",
        domain: "com.microsoft",
        inputs: ["x", "logits", "gateUp", "gateUpScales", "", "down", "downScales"],
        outputs: ["y"],
        attributes: {
          k: topK,
          activation_type: "swiglu",
          swiglu_fusion: 1,
          normalize_routing_weights: 1,
          expert_weight_bits: 8,
        },
      },
    ],
  });
}

/** The whole numbers of a matrix. */
function codesOf(matrix: HostMatrix): Uint8Array {
  const step = stepOf(matrix);
  const codes = new Uint8Array(sizeOf(matrix.shape));
  for (let index = 0; index < codes.length; index++) {
    codes[index] = matrix.at(index) / step + ZERO_POINT;
  }
  return codes;
}

/** A row's largest number is 127 steps, so its scale is one step. */
function scalesOf(matrix: HostMatrix): Float32Array {
  return new Float32Array(sizeOf(matrix.shape.slice(0, -1))).fill(stepOf(matrix));
}

function transposed(matrix: HostMatrix): Float32Array {
  const [rows = 0, columns = 0] = matrix.shape;
  return Float32Array.from({ length: rows * columns }, (_, index) =>
    matrix.at((index % rows) * columns + Math.floor(index / rows)),
  );
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
