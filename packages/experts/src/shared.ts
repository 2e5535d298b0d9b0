import {
  ConfigError,
  type Merge,
  type SharedBranch,
  type Tensor,
  type Shape,
  foldIn,
  matmul,
  normalParameter,
} from "@moiety/core";
import { type DenseFfnOptions, denseFfn } from "./dense.ts";
import type { HeldFfnParams } from "./params.ts";
import type { ShapesOf } from "./shapes.ts";

/** Weights of a shared expert. */
export interface SharedExpertParams {
  readonly ffn: HeldFfnParams;
  /** `[1, H]` for merge `gate`, `[2, H]` for `softmax2`. */
  readonly gate?: Tensor | undefined;
}

/** The shapes of a shared expert's parameters. */
export interface SharedExpertShapes {
  readonly ffn: ShapesOf<HeldFfnParams>;
  readonly gate?: Shape;
}

/** A shared expert: a dense network beside the routed ones. */
export interface SharedExpert extends SharedBranch<SharedExpertParams> {
  /** The shape of every parameter. */
  readonly shapes: SharedExpertShapes;
}

/** Options of a shared expert. */
export interface SharedExpertOptions extends DenseFfnOptions {
  /** How it joins the routed output. `add` unless given. */
  readonly merge?: Merge | undefined;
}

const GATE_ROWS: Readonly<Record<Merge, number>> = { add: 0, average: 0, gate: 1, softmax2: 2 };

/**
 * An expert that every token takes, merged with the routed output y: `add` y + s (DeepSeekMoE, arXiv
 * 2401.06066), `average` (y + s)/2, `gate` y + σ(g·x)·s (Qwen2-MoE), `softmax2` y·c₀ + s·c₁ with
 * c = softmax(g·x) (DeepSpeed's residual MoE, arXiv 2201.05596). n shared experts are one of n-fold
 * width.
 */
export function sharedExpert(options: SharedExpertOptions): SharedExpert {
  const { merge = "add", hiddenSize, initializerRange = 0.02 } = options;
  const rows: number | undefined = GATE_ROWS[merge];
  if (rows === undefined) {
    const known = Object.keys(GATE_ROWS).join(", ");
    throw new ConfigError(`merge is ${String(merge)}, but must be one of ${known}`, "merge", merge);
  }
  const ffn = denseFfn(options);
  const gateShape: Shape = [rows, hiddenSize];
  return {
    merge,
    shapes: rows > 0 ? { ffn: ffn.shapes, gate: gateShape } : { ffn: ffn.shapes },
    init(key, init) {
      const { params } = ffn.init(foldIn(key, 0), init);
      if (rows === 0) return { params: { ffn: params }, state: {} };
      const gate = normalParameter(foldIn(key, 1), gateShape, initializerRange, init);
      return { params: { ffn: params, gate }, state: {} };
    },
    forward: (params, x) => ffn.forward(params.ffn, x),
    ...(rows > 0 && { gate: gateLogits }),
  };
}

function gateLogits({ gate }: SharedExpertParams, x: Tensor): Tensor {
  if (gate) return matmul(x, gate, { transposeB: true });
  throw new ConfigError("this shared expert has a gate, but params.gate is missing", "gate", gate);
}
