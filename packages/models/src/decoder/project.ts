import { type Tensor, add } from "@moiety/core";
import { throughRows } from "@moiety/experts";

/**
 * `x […, in]` through `weight [out, in]`, which may be held in f16 or bf16, plus `bias [out]` where
 * there is one.
 */
export function project(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const y = throughRows(x, weight);
  return bias ? add(y, bias) : y;
}
