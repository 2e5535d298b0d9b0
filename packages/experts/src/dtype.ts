import { type DType, type Tensor, cast } from "@moiety/core";

/** The tensor in a dtype: itself where it has it already. */
export function asDType(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : cast(x, { dtype });
}
