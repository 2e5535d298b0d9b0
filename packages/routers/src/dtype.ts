import type { FloatDType, Tensor } from "@moiety/core";

/** The dtype to compute in beside a tensor: float32, or float64 where it is that. */
export function floatOf({ dtype }: Pick<Tensor, "dtype">): FloatDType {
  return dtype === "f64" ? "f64" : "f32";
}
