import {
  type Backend,
  type FfnDescriptor,
  type ProductFormat,
  type Shape,
  type Tensor,
  cast,
  hostBits,
  moeFfn,
  randomKey,
  storedFormat,
} from "@moiety/core";
import { randomCodes } from "../../../testing/codes.ts";
import { randomTensor } from "../../../testing/oracle.ts";

/** Sizes and inputs of a fused FFN. */
export interface Layer {
  readonly tokens: number;
  readonly choices: number;
  readonly experts: number;
  readonly hidden: number;
  readonly inner: number;
  readonly output?: number;
  readonly descriptor: FfnDescriptor;
  readonly biases?: boolean;
  readonly inputWeights?: boolean;
  readonly dtype?: "f16" | "bf16";
  /** Weights are codes of this format. */
  readonly format?: ProductFormat;
  /** Which experts are chosen; random ones unless given. */
  readonly indices?: readonly number[];
}

/** As most families have it. */
export const swiglu: FfnDescriptor = {
  activation: "silu",
  gate: { packing: "concatenated", first: "gate" },
};

/** Inputs in the op's order. */
export function inputsOf(backend: Backend, layer: Layer): (Tensor | undefined)[] {
  const { tokens, choices, experts, hidden, inner, output = hidden, descriptor } = layer;
  const { transposed = false, gate } = descriptor;
  const columns = gate ? 2 * inner : inner;
  const matrix = (out: number, into: number): Shape =>
    transposed ? [experts, into, out] : [experts, out, into];
  const held = (seed: number, shape: Shape): Tensor => {
    const tensor = randomTensor(backend, seed, shape);
    return layer.dtype ? cast(tensor, { dtype: layer.dtype }) : tensor;
  };
  const format = layer.format && storedFormat(layer.format);
  const coded = (seed: number, shape: Shape): readonly [Tensor, Tensor | undefined] => {
    if (!format) return [held(seed, shape), undefined];
    const { codes, scales } = randomCodes(backend, seed, format, shape);
    return [codes, scales];
  };
  const [up, upScales] = coded(3, matrix(columns, hidden));
  const [down, downScales] = coded(4, matrix(output, inner));
  const bits = hostBits(randomKey(9), tokens * choices);
  const chosen = layer.indices ?? Array.from(bits, (word) => word % (experts + 1));
  return [
    randomTensor(backend, 1, [tokens, hidden]),
    backend.tensor(Int32Array.from(chosen), { shape: [tokens, choices] }),
    randomTensor(backend, 2, [tokens, choices]),
    up,
    down,
    layer.biases ? randomTensor(backend, 5, [experts, columns]) : undefined,
    layer.biases ? randomTensor(backend, 6, [experts, output]) : undefined,
    layer.inputWeights ? randomTensor(backend, 7, [tokens, choices]) : undefined,
    upScales,
    downScales,
  ];
}

/** The op on its inputs. */
export function run(backend: Backend, layer: Layer): Tensor {
  return runOn(inputsOf(backend, layer), layer);
}

/** The op on these inputs. */
export function runOn(inputs: readonly (Tensor | undefined)[], layer: Layer): Tensor {
  const [x, indices, weights, up, down, ...rest] = inputs;
  const given = [x, indices, weights, up, down] as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const [upBias, downBias, inputWeights, upScales, downScales] = rest;
  const { format, descriptor } = layer;
  return moeFfn(...given, upBias, downBias, inputWeights, upScales, downScales, {
    descriptor: format ? { ...descriptor, format } : descriptor,
  });
}

/** A small layer. */
export const small: Omit<Layer, "tokens"> = {
  choices: 2,
  experts: 4,
  hidden: 8,
  inner: 12,
  descriptor: swiglu,
};

/** Every kind of descriptor. */
export const descriptors: readonly (readonly [string, FfnDescriptor])[] = [
  ["relu", { activation: "relu" }],
  ["reluSquared", { activation: "reluSquared" }],
  ["gelu", { activation: "gelu" }],
  ["geluTanh, transposed", { activation: "geluTanh", transposed: true }],
  ["identity", { activation: "identity" }],
  ["up first", { activation: "silu", gate: { packing: "concatenated", first: "up" } }],
  ["interleaved", { activation: "gelu", gate: { packing: "interleaved", first: "gate" } }],
  [
    "as gpt-oss",
    {
      activation: "silu",
      alpha: 1.702,
      gate: { packing: "interleaved", first: "gate" },
      clamp: { limit: 1.5 },
      upOffset: 1,
      transposed: true,
    },
  ],
  [
    "clamped behind",
    {
      activation: "silu",
      gate: { packing: "concatenated", first: "gate" },
      clamp: { limit: 0.7, when: "after" },
    },
  ],
];
