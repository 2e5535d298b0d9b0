import {
  type InitOptions,
  type Tensor,
  add,
  constantParameter,
  mean,
  rmsNorm,
  sub,
} from "@moiety/core";
import type { ShapesOf } from "@moiety/experts";
import type { DecoderConfig } from "./config.ts";

/** What a decoder's norms depend on. */
type NormConfig = Pick<DecoderConfig, "hiddenSize" | "norm" | "rmsNormEps">;

/** Leaves of the norm called `Name`: its weight and, of LayerNorm, its bias. */
type NormParams<Name extends string> = { readonly [Key in Name]: Tensor } & {
  readonly [Key in `${Name}Bias`]?: Tensor | undefined;
};

/** Shapes of the leaves of the norm called `name`. */
export function normShapes<const Name extends string>(
  { hiddenSize, norm }: NormConfig,
  name: Name,
): ShapesOf<NormParams<Name>> {
  const shapes = {
    [name]: [hiddenSize],
    ...(norm === "layer" && { [`${name}Bias`]: [hiddenSize] }),
  };
  return shapes as ShapesOf<NormParams<Name>>;
}

/** The first leaves of the norm called `name`: weight one, bias zero. */
export function drawNorm<const Name extends string>(
  { hiddenSize, norm }: NormConfig,
  name: Name,
  options: InitOptions,
): NormParams<Name> {
  const leaf = (value: number): Tensor => constantParameter(value, [hiddenSize], options);
  const leaves = { [name]: leaf(1), ...(norm === "layer" && { [`${name}Bias`]: leaf(0) }) };
  return leaves as NormParams<Name>;
}

/** RMSNorm or LayerNorm of `x […, H]`. */
export function normalize(
  { norm, rmsNormEps: epsilon }: NormConfig,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
): Tensor {
  // Around its mean, the root of a vector's mean square is its standard deviation.
  const centred = norm === "layer" ? sub(x, mean(x, [-1], true)) : x;
  const normed = rmsNorm(centred, weight, { epsilon });
  return bias ? add(normed, bias) : normed;
}
