import { type Leaf, type ProductFormat, type Tensor, add } from "@moiety/core";
import { throughRows } from "@moiety/experts";

/**
 * `x […, in]` through `weight [out, in]`, which may be held in f16 or bf16, plus `bias [out]` where
 * there is one.
 */
export type Project = (x: Tensor, weight: Leaf, bias?: Tensor) => Tensor;

/** The projection by weights that are held in a `format`; in floats unless given. */
export function projection(format?: ProductFormat): Project {
  return (x, weight, bias) => {
    const y = throughRows(x, weight, format);
    return bias ? add(y, bias) : y;
  };
}
