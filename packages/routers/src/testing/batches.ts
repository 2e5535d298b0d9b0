import type { Tensor, TokenChoice } from "@moiety/core";
import fc from "fast-check";
import { expect } from "vitest";
import type { LinearRouter } from "../linear-router.ts";
import { backend, distance, draws, f64, identity, rowsOf, values } from "./numbers.ts";
import { survivors } from "./places.ts";

/** A batch of sequences, with padding or without. */
export interface Batch {
  readonly lengths: readonly number[];
  readonly seed: number;
  readonly masked: boolean;
}
/** Up to three sequences, some of them empty. */
export const batches: fc.Arbitrary<Batch> = fc.record({
  lengths: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 3 }),
  seed: fc.nat(1e6),
  masked: fc.boolean(),
});

/** The logits of a batch, as a tensor and as rows. */
export interface DrawnBatch {
  readonly logits: Tensor;
  readonly rows: readonly number[][];
  readonly sequences: readonly number[];
  readonly tokens: number;
  /** False for padding. */
  readonly keep: readonly boolean[];
  readonly mask: Tensor | undefined;
}

/** Draws a batch. */
export function batchOf({ lengths, seed, masked }: Batch, experts = 4): DrawnBatch {
  const sequences = lengths.reduce<number[]>((list, n) => [...list, (list.at(-1) ?? 0) + n], [0]);
  const tokens = sequences.at(-1) ?? 0;
  const data = draws(seed, tokens * experts);
  const keep = draws(seed + 1, tokens).map((value) => !masked || value > -0.5);
  const mask = masked ? backend.tensor(keep, { shape: [tokens], dtype: "bool" }) : undefined;
  const rows = Array.from({ length: tokens }, (_, t) => data.slice(t * experts, (t + 1) * experts));
  return { logits: f64(data, [tokens, experts]), rows, sequences, tokens, keep, mask };
}

/** Routes a batch whose rows are the logits. */
export function routeOf(router: LinearRouter, batch: DrawnBatch): TokenChoice {
  const { logits, sequences, mask } = batch;
  return router.route({ weight: identity(router.experts) }, {}, logits, { sequences, mask });
}

/** Compares places, and the weights of those that found one. */
export async function expectPlaced(
  routing: TokenChoice,
  placed: readonly (readonly number[])[],
  weights: readonly (readonly number[])[],
): Promise<void> {
  expect(await rowsOf(routing.indices)).toEqual(placed);
  const wanted = survivors(weights, placed, routing.experts).flat();
  expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-12);
}
