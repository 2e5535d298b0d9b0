import {
  type AnyOp,
  type DType,
  type Tensor,
  type TokenChoice,
  binary,
  gatherRows,
  groupRows,
  reduce,
  routeTokens,
} from "@moiety/core";
import type { BoundedValues, CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { type CaseExtras, levelCase } from "./l1-support.ts";
import { BASE_DTYPES } from "./l0-support.ts";

/** What a plan is made of. */
export const PLAN_OPS: readonly AnyOp[] = [groupRows, binary];
/** A plan, and rows by it. */
export const DISPATCH_OPS: readonly AnyOp[] = [...PLAN_OPS, gatherRows];
/** The way to the rows and back. */
export const COMBINE_OPS: readonly AnyOp[] = [...DISPATCH_OPS, reduce];

/** A few more rows than a GPU starts groups along one dimension. */
export const MANY = 65_539;

/** A case of level 2. */
export function permuteCase(
  id: string,
  demand: string,
  ops: readonly AnyOp[],
  run: (test: CaseContext) => Promise<void>,
  extras: CaseExtras = {},
): ConformanceCase {
  return levelCase("L2", id, demand, ops, run, extras);
}

/** A case that needs a dtype: unsupported where the manifest does not have it. */
export function dtypeCase(
  id: string,
  demand: string,
  ops: readonly AnyOp[],
  dtype: DType,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  if (BASE_DTYPES.includes(dtype)) return permuteCase(id, demand, ops, run);
  return permuteCase(id, demand, ops, run, {
    unsupported: ({ dtypes }) =>
      dtypes.includes(dtype) ? undefined : `the manifest has no ${dtype}`,
  });
}

/** A choice that the reference made, to be replayed. */
export type Replayed = {
  /** `[T, k]` i32. */
  readonly indices: HostTensor;
  /** `[T, k]`. */
  readonly weights: HostTensor;
};

/** The reference's routing of random logits: softmax, the k best, not renormalised. */
export async function replayed(
  test: CaseContext,
  tokens: number,
  experts: number,
  k: number,
): Promise<Replayed> {
  const logits = test.random.normal([tokens, experts]);
  const { indices, weights } = await test.reference({ logits }, ({ inputs: { logits } }) => {
    const routing = routeTokens({ experts, topK: k, score: "softmax" }, { logits });
    return { indices: routing.indices, weights: routing.outputWeights };
  });
  return { indices: asInput(indices, "i32"), weights: asInput(weights, "f32") };
}

/** A reference's values as an input of the next program. */
export function asInput({ values, shape }: BoundedValues, dtype: DType): HostTensor {
  return generated(shape, dtype, (index) => values[index] ?? 0);
}

/** Dyadic weights k/16 from 1/16 to 1: their products with dyadic numbers add up exactly. */
export function dyadicWeights(test: CaseContext, shape: readonly number[]): HostTensor {
  const steps = test.random.integers(shape, 1, 16);
  return generated(shape, "f32", (index) => (steps.data[index] ?? 0) / 16);
}

/** A routing of given choices; logits and scores are the weights, which nothing looks at. */
export function choiceOf(indices: Tensor, weights: Tensor, experts: number): TokenChoice {
  return {
    kind: "token-choice",
    experts,
    logits: weights,
    scores: weights,
    indices,
    selected: indices,
    outputWeights: weights,
  };
}
