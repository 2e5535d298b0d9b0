import {
  ConfigError,
  type Tensor,
  constantParameter,
  gatherRows,
  mixExperts,
  mul,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { asDType } from "./dtype.ts";
import { type Wrapped, requireHere, wrapBank } from "./wrap.ts";

/** Parameters of scaled experts. */
export interface ScaledParams<Inner> extends Wrapped<Inner> {
  /** `[E]` for each expert, or `[1]` for the layer. */
  readonly scale: Tensor;
}

/** Options of {@link scaledExperts}. */
export interface ScaledOptions {
  /** One factor for each expert, or one for all. `expert` unless given. */
  readonly per?: "expert" | "layer" | undefined;
}

/**
 * Experts whose output has a learned factor that starts from 1: `Σⱼ wⱼ · scaleₑⱼ · fₑⱼ(x)`. For each
 * expert it is Gemma 4's `per_expert_scale`, for the layer Inkling's global scale.
 * @throws ConfigError naming the option
 */
export function scaledExperts<Inner>(
  bank: ShapedBank<Inner>,
  { per = "expert" }: ScaledOptions = {},
): ShapedBank<ScaledParams<Inner>> {
  if (per !== "expert" && per !== "layer") {
    throw new ConfigError(
      `scaledExperts: per is ${String(per)}, but must be expert or layer`,
      "per",
      per,
    );
  }
  const shape = [per === "expert" ? bank.experts : 1];
  return wrapBank<Inner, ScaledParams<Inner>>(bank, {
    name: "scaledExperts",
    shapes: { scale: shape },
    draw: (_key, init) => ({ scale: constantParameter(1, shape, init) }),
    forward({ bank: inner, scale }, rows) {
      const outputs = bank.forward(inner, rows);
      const factors =
        per === "expert" ? gatherRows(scale, rows.group).reshape([rows.group.size, 1]) : scale;
      return mul(outputs, asDType(factors, outputs.dtype));
    },
    mix({ bank: inner, scale }, x, routing) {
      const { outputWeights, indices } = routing;
      const factors = per === "expert" ? gatherRows(scale, indices) : scale;
      const scaled = mul(outputWeights, asDType(factors, outputWeights.dtype));
      return mixExperts(bank, inner, x, { ...routing, outputWeights: scaled });
    },
  });
}

/**
 * The same experts with outputs times a fixed number: NLLB-MoE's evaluation multiplies them by
 * 1 − `moe_token_dropout`. Parameters stay those of the bank.
 * @throws ConfigError unless the factor is finite
 */
export function timesFactor<Params>(bank: ShapedBank<Params>, factor: number): ShapedBank<Params> {
  if (!Number.isFinite(factor)) {
    throw new ConfigError(
      `timesFactor: factor is ${String(factor)}, but must be a finite number`,
      "factor",
      factor,
    );
  }
  requireHere("timesFactor", bank);
  const { ffn: _, ...rest } = bank;
  return {
    ...rest,
    forward: (params, rows) => mul(bank.forward(params, rows), factor),
    mix: (params, x, routing) => mul(mixExperts(bank, params, x, routing), factor),
  };
}
