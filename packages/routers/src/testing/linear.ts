import { type RandomKey, type RouteContext, type Tensor, randomKey } from "@moiety/core";
import type { LinearRouter, LinearRouterOptions } from "../linear-router.ts";
import { backend, drawn } from "./numbers.ts";

/** E of the linear routers of tests. */
export const EXPERTS = 4;
/** Their H. */
export const WIDTH = 3;
/** Tokens of a call. */
export const TOKENS = 5;
/** The plainest options. */
export const base: LinearRouterOptions = {
  inputSize: WIDTH,
  spec: { experts: EXPERTS, topK: 2, score: "softmax" },
};
/** `[TOKENS, WIDTH]`. */
export const x: Tensor = drawn(1, [TOKENS, WIDTH]);
/** Of the draws. */
export const key: RandomKey = randomKey(99);
/** A call of training. */
export const training: RouteContext = { training: true, key };

/** x · weightᵀ (+ bias), by plain loops. */
export function linear(
  input: readonly number[],
  weight: readonly number[],
  bias: readonly number[] = [],
): number[] {
  return Array.from({ length: (input.length / WIDTH) * EXPERTS }, (_, at) => {
    const [token, expert] = [Math.floor(at / EXPERTS), at % EXPERTS];
    let total = bias[expert] ?? 0;
    for (let i = 0; i < WIDTH; i++) {
      total += (input[token * WIDTH + i] as number) * (weight[expert * WIDTH + i] as number);
    }
    return total;
  });
}

/** Parameters and state in float64. */
export function start(router: LinearRouter, seed = 3): ReturnType<LinearRouter["init"]> {
  return router.init(randomKey(seed), { backend, dtype: "f64" });
}
