import create from "@moiety/backend-cpu";
import {
  type Backend,
  type CapacitySpec,
  type RandomKey,
  type Routing,
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  add,
  full,
  hostNormal,
  mul,
  randomKey,
  routeTokens,
  softplus,
  valueAndGrad,
} from "@moiety/core";
import { expect } from "vitest";

/** What routings of tests stand on. */
export const backend: Backend = await create();

/** A float64 tensor. */
export function f64(data: readonly number[], shape: readonly number[] = [data.length]): Tensor {
  return backend.tensor([...data], { shape, dtype: "f64" });
}

/** An i32 tensor. */
export function i32(data: readonly number[], shape: readonly number[] = [data.length]): Tensor {
  return backend.tensor(Int32Array.from(data), { shape });
}

/** A bool tensor `[n]`. */
export function bools(data: readonly (boolean | number)[]): Tensor {
  return backend.tensor(data.map(Boolean), { shape: [data.length], dtype: "bool" });
}

/** The elements of a tensor. */
export async function values(tensor: Tensor | null | undefined): Promise<number[]> {
  return tensor ? [...(await tensor.read())] : [];
}

/** Standard normal numbers. */
export function draws(seed: number, count: number): number[] {
  return [...hostNormal(randomKey(seed) satisfies RandomKey, count)];
}

/** The sum of numbers. */
export function total(list: readonly number[]): number {
  return list.reduce((a, b) => a + b, 0);
}

/** What a routing is made of. */
export interface Given {
  readonly experts: number;
  readonly logits: Tensor;
  readonly k?: number | undefined;
  readonly score?: "softmax" | "sigmoid" | undefined;
  readonly mask?: readonly (boolean | number)[] | undefined;
  readonly sequences?: readonly number[] | undefined;
  readonly capacity?: CapacitySpec | undefined;
}

/** Routes logits `[T, E]`. */
export function route(given: Given): TokenChoice {
  const { experts, logits, k = 1, score = "softmax", mask, sequences, capacity } = given;
  const context = { mask: mask && bools(mask), sequences };
  return routeTokens({ experts, topK: k, score, capacity }, { logits }, context);
}

/** Routes `clean [T, E]` logits plus fixed noise of a scale that depends on them. */
export function routeNoisily(given: Given, seed: number): TokenChoice {
  const { logits: clean } = given;
  const scale = add(mul(softplus(clean), 0.3), 0.2);
  const standard = f64(draws(seed, clean.size), clean.shape);
  const routing = route({ ...given, logits: add(clean, mul(standard, scale)) });
  return { ...routing, noise: { clean, scale } };
}

/** Logits that send token t to expert `chosen[t]`, with near certainty from a height of 60. */
export function towards(chosen: readonly number[], experts: number, height = 60): Tensor {
  const rows = chosen.flatMap((expert) =>
    Array.from({ length: experts }, (_, e) => (e === expert ? height : 0)),
  );
  return f64(rows, [chosen.length, experts]);
}

/**
 * A routing whose load and mean probabilities are both `shares` of `parts` each: token t is certain
 * of its expert.
 */
export function proportional(parts: readonly number[]): TokenChoice {
  const chosen = parts.flatMap((count, expert) => new Array<number>(count).fill(expert));
  return route({ experts: parts.length, logits: towards(chosen, parts.length) });
}

/** Along how many directions a gradient is checked. */
const DIRECTIONS = 2;

/** Compares the slope of a loss along drawn directions with central differences, in float64. */
export async function checkGradient(
  loss: RoutingLoss,
  data: readonly (readonly number[])[],
  routingsOf: (layers: readonly Tensor[]) => Routing[],
  shape: readonly number[],
): Promise<void> {
  const evaluate = (p: { layers: Tensor[] }): Tensor => loss.evaluate(routingsOf(p.layers));
  const upload = (lists: readonly (readonly number[])[]): Tensor[] =>
    lists.map((list) => f64(list, shape));
  const { grads } = valueAndGrad(evaluate)({ layers: upload(data) });
  const slopes = await Promise.all(grads.layers.map(values));
  const step = 1e-5;
  for (let seed = 0; seed < DIRECTIONS; seed++) {
    const direction = data.map((list, layer) =>
      draws(1000 + seed * data.length + layer, list.length),
    );
    const moved = async (by: number): Promise<number> => {
      const changed = data.map((list, layer) =>
        list.map((value, at) => value + by * (direction[layer]?.[at] ?? 0)),
      );
      return evaluate({ layers: upload(changed) }).item();
    };
    const difference = ((await moved(step)) - (await moved(-step))) / (2 * step);
    // No gradient at all is one of zero.
    const along = direction.flatMap((list, layer) =>
      list.map((amount, at) => amount * (slopes[layer]?.[at] ?? 0)),
    );
    expect(total(along)).toBeCloseTo(difference, 7);
  }
}

/** A vector of one number, on the backend of the tests. */
export function constant(value: number, count: number): Tensor {
  return full(backend, [count], value, "f64");
}
