import {
  ConfigError,
  type Leaf,
  type ProductFormat,
  type Tensor,
  cast,
  isFloat,
  isQuantized,
  linear,
  matmul,
} from "@moiety/core";

/**
 * `x […, in]` through a matrix `[out, in]` that may be held in f16 or bf16, or in codes of a `format`:
 * sums are those of the dtype of x all the same (`linear` of core).
 * @throws ConfigError where codes have no format, or a format no codes
 */
export function throughRows(x: Tensor, weight: Leaf, format?: ProductFormat): Tensor {
  const attributes = format === undefined ? {} : { format };
  return isQuantized(weight)
    ? linear(x, weight.codes, weight.scales, attributes)
    : linear(x, weight, undefined, attributes);
}

/**
 * `x […, in]` through a matrix `[in, out]` that may be held in f16 or bf16.
 * @throws ConfigError for codes: blocks of theirs would run across what is added up
 */
export function throughColumns(x: Tensor, weight: Leaf): Tensor {
  if (isQuantized(weight)) {
    throw new ConfigError("a matrix [in, out] cannot be held in codes", "transposed", true);
  }
  const { dtype } = x;
  const isHalf = weight.dtype === "f16" || weight.dtype === "bf16";
  if (!isHalf || !isFloat(dtype)) return matmul(x, weight);
  const numbers = cast(weight, { dtype });
  const product = matmul(x, numbers);
  numbers.dispose();
  return product;
}
