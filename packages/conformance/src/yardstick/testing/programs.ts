import {
  type FfnDescriptor,
  type Tensor,
  adamW,
  attention,
  crossEntropy,
  gelu,
  geluTanh,
  logSumExp,
  moeFfn,
  mul,
  rmsNorm,
  rope,
  rotaryFrequencies,
  rotaryTable,
  routeTopK,
  silu,
  softmax,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { Draw, type Values } from "./draw.ts";
import type { Program } from "./measure.ts";

/** A program with inputs for it. */
export interface Example {
  readonly name: string;
  readonly inputs: readonly Values[];
  readonly program: Program;
  /** How many elements of an output are 0 where the terms that cancel to it are not. */
  readonly ambiguous?: Readonly<Record<string, number>> | undefined;
}

/** Outputs of `forward`, and gradients of their weighted sum for the first `count` inputs. */
function withGradients(
  count: number,
  forward: (inputs: readonly Tensor[], float: "f32" | "f64") => Tensor,
): Program {
  return (backend, float, inputs) => {
    const differentiate = valueAndGrad((given: readonly Tensor[]) => {
      const output = forward([...given, ...inputs.slice(count)], float);
      const weights = Array.from({ length: output.size }, (_, at) => ((at * 7) % 11) / 8 - 0.5);
      const weighted = mul(output, backend.tensor(weights, { shape: output.shape, dtype: float }));
      return { loss: sum(weighted), aux: output };
    });
    const { aux, grads } = differentiate(inputs.slice(0, count));
    const named = grads.flatMap((gradient, at) =>
      gradient ? [[`gradient ${at}`, gradient] as const] : [],
    );
    return { output: aux, ...Object.fromEntries(named) };
  };
}

const GLU: FfnDescriptor = {
  activation: "silu",
  gate: { packing: "concatenated", first: "gate" },
};
const GPT_OSS: FfnDescriptor = {
  activation: "silu",
  alpha: 1.702,
  gate: { packing: "interleaved", first: "gate" },
  clamp: { limit: 7 },
  upOffset: 1,
};
const PLAIN: FfnDescriptor = { activation: "relu", transposed: true };

function ffnExample(name: string, descriptor: FfnDescriptor, draw: Draw): Example {
  const [tokens, width, inner, experts, k] = [9, 24, 20, 5, 2];
  const hidden = descriptor.gate ? 2 * inner : inner;
  const up = descriptor.transposed ? [experts, width, hidden] : [experts, hidden, width];
  const down = descriptor.transposed ? [experts, inner, width] : [experts, width, inner];
  const indices = draw.distinct(tokens, k, experts);
  return {
    name: `moeFfn ${name}`,
    inputs: [
      draw.floats([tokens, width]),
      draw.positive([tokens, k]),
      draw.floats(up, 0.3),
      draw.floats(down, 0.3),
      draw.floats([experts, hidden], 0.1),
      { data: indices, shape: [tokens, k], dtype: "i32" },
    ],
    program: withGradients(5, ([x, weights, up_, down_, bias, chosen]) =>
      moeFfn(
        x as Tensor,
        chosen as Tensor,
        weights as Tensor,
        up_ as Tensor,
        down_ as Tensor,
        bias,
        undefined,
        undefined,
        undefined,
        undefined,
        { descriptor },
      ),
    ),
  };
}

/** Fused ops on all kinds of shapes, with gradients. */
export function examples(seed: number): Example[] {
  const draw = new Draw(seed);
  const one = (name: string, x: Values, f: (x: Tensor) => Tensor): Example => ({
    name,
    inputs: [x],
    program: withGradients(1, ([input]) => f(input as Tensor)),
  });
  return [
    one("softmax", draw.floats([7, 65], 3), (x) => softmax(x)),
    {
      ...one("softmax of ±1e4", draw.floats([3, 9], 1e4), (x) => softmax(x)),
      ambiguous: { "gradient 0": 3 },
    },
    one("logSumExp", draw.floats([7, 33], 3), (x) => logSumExp(x)),
    one("gelu", draw.floats([5, 31], 2), gelu),
    one("geluTanh", draw.floats([5, 31], 2), geluTanh),
    one("silu", draw.floats([5, 31], 4), silu),
    {
      name: "masked softmax",
      inputs: [draw.floats([6, 9], 3), draw.values([6, 9], "bool")],
      program: withGradients(1, ([x, mask]) => softmax(x as Tensor, mask as Tensor)),
    },
    {
      name: "rmsNorm",
      inputs: [draw.floats([6, 96]), draw.floats([96])],
      program: withGradients(2, ([x, weight]) =>
        rmsNorm(x as Tensor, weight as Tensor, { epsilon: 1e-6 }),
      ),
    },
    {
      name: "attention",
      inputs: [
        draw.floats([2, 5, 4, 16]),
        draw.floats([2, 7, 2, 16]),
        draw.floats([2, 7, 2, 8]),
        { data: [1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1], shape: [2, 7], dtype: "bool" },
      ],
      program: withGradients(3, ([q, k, v, mask]) =>
        attention(q as Tensor, k as Tensor, v as Tensor, mask, undefined, {
          causal: true,
          scale: 0.25,
          position: 2,
        }),
      ),
    },
    {
      name: "attention with a window and sinks",
      inputs: [
        draw.floats([2, 5, 4, 16]),
        draw.floats([2, 12, 2, 16]),
        draw.floats([2, 12, 2, 8]),
        draw.floats([4], 2),
      ],
      program: withGradients(4, ([q, k, v, sinks]) =>
        attention(q as Tensor, k as Tensor, v as Tensor, undefined, sinks, {
          causal: true,
          scale: 0.25,
          position: 7,
          window: 4,
        }),
      ),
    },
    {
      name: "crossEntropy",
      inputs: [
        draw.floats([6, 40], 3),
        { data: [0, 39, -100, 5, 5, 40], shape: [6], dtype: "i32" },
      ],
      program: withGradients(1, ([logits, targets]) =>
        crossEntropy(logits as Tensor, targets as Tensor),
      ),
    },
    {
      name: "rope",
      inputs: [draw.floats([4, 3, 10])],
      program: (backend, float, [x]) => {
        const { cos, sin } = rotaryTable(backend, {
          positions: [0, 3, 17, 90],
          frequencies: rotaryFrequencies(8, 1e4),
          dtype: float,
        });
        return { output: rope(x as Tensor, cos, sin, {}) };
      },
    },
    {
      name: "adamW",
      inputs: [draw.floats([40]), draw.floats([40]), draw.floats([40], 0.1), draw.positive([40])],
      program: (_, __, [parameter, gradient, first, second]) => {
        const [p, m, v] = adamW(
          parameter as Tensor,
          gradient as Tensor,
          first as Tensor,
          second as Tensor,
          {
            learningRate: 3e-4,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weightDecay: 0.1,
            step: 3,
          },
        );
        return { p, m, v };
      },
    },
    ...(["softmax", "sigmoid", "sqrtSoftplus"] as const).map((score) => ({
      name: `routeTopK ${score}`,
      inputs: [draw.floats([12, 16], 2)],
      program: withGradients(1, ([logits]) => {
        const spec = { topK: 4, score, renormalize: { epsilon: "machine" as const }, scale: 2.5 };
        return routeTopK(logits as Tensor, undefined, undefined, spec)[2];
      }),
    })),
    ffnExample("of GLUs", GLU, draw),
    ffnExample("as in gpt-oss", GPT_OSS, draw),
    ffnExample("with ReLU, transposed", PLAIN, draw),
  ];
}
