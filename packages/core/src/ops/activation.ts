import type { Tensor } from "../tensor.ts";
import { add, erf, lessEqual, mul, select, sigmoid, square, tanh } from "./arithmetic.ts";

/** max(x, 0); NaN stays NaN, and the gradient at 0 is 0. */
export function relu(x: Tensor): Tensor {
  return select(lessEqual(x, 0), 0, x);
}

/** relu(x)². */
export function reluSquared(x: Tensor): Tensor {
  return square(relu(x));
}

/** x · σ(x). */
export function silu(x: Tensor): Tensor {
  return mul(x, sigmoid(x));
}

/** ½ · x · (1 + erf(x/√2)). */
export function gelu(x: Tensor): Tensor {
  return mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1));
}

/** ½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))). */
export function geluTanh(x: Tensor): Tensor {
  const inner = mul(add(x, mul(mul(square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
  return mul(mul(x, 0.5), add(tanh(inner), 1));
}
