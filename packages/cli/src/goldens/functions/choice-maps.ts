import { type Tensor, mul, oneHot, sum } from "@moiety/core";

/** Values of choices `[T, k]` at their experts: `[T, E]`, 0 elsewhere. */
export function spreadChoices(values: Tensor, indices: Tensor, experts: number): Tensor {
  const [tokens = 0, k = 0] = indices.shape;
  const dtype = values.dtype === "f64" ? "f64" : "f32";
  const marks = oneHot(indices, experts, dtype);
  return sum(mul(marks, values.reshape([tokens, k, 1])), [1]);
}

/** `[T, E]` i32: 1 where a token goes to an expert. */
export function choiceMap(indices: Tensor, experts: number): Tensor {
  return sum(oneHot(indices, experts, "i32"), [1]);
}
