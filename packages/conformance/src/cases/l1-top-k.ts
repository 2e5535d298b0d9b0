import { type Tensor, topK } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import {
  EXPERT_COUNTS,
  distinctLogits,
  edited,
  expectDistinct,
  levelCase,
  rowsOf,
  upTo,
} from "./l1-support.ts";
import { tokenCounts } from "./l1-route-shapes.ts";

/** A case of the op itself. */
export function topKCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return levelCase("L1", `top-k/${id}`, demand, [topK], run);
}

/** The op for several k of one input. */
export function forEachK(
  scores: Tensor,
  ks: readonly number[],
  mask?: Tensor,
): Record<string, Tensor> {
  return Object.fromEntries(
    ks.flatMap((k) => {
      const [values, indices] = topK(scores, mask, { k });
      return [
        [`indices, k = ${k}`, indices],
        [`values, k = ${k}`, values],
      ];
    }),
  );
}

/** A case that compares the op on host scores for several k. */
function scoresCase(
  id: string,
  demand: string,
  ks: readonly number[],
  make: (test: CaseContext) => HostTensor,
): ConformanceCase {
  return topKCase(id, demand, async (test) => {
    await test.compare({ scores: make(test) }, ({ inputs: { scores } }) => forEachK(scores, ks));
  });
}

const shapes: readonly ConformanceCase[] = [
  ...EXPERT_COUNTS.map((experts) => {
    const ks = [...new Set([1, 2, experts - 1, experts])].filter((k) => k > 0 && k <= experts);
    return scoresCase(
      `width-${experts}`,
      `topK of ${experts} distinct scores gives the k highest, the highest first, for k = ${ks.join(", ")}`,
      ks,
      ({ random }) => distinctLogits(random, 5, experts),
    );
  }),
  ...[0, 1, 17, 2049].map((tokens) =>
    scoresCase(`rows-${tokens}`, `topK treats each of ${tokens} rows`, [2], ({ random }) =>
      distinctLogits(random, tokens, 8),
    ),
  ),
  topKCase("rows-around-tiles", "topK treats every row around the sizes of tiles", async (test) => {
    for (const tokens of tokenCounts(test.capabilities)) {
      const scores = distinctLogits(test.random, tokens, 8);
      await test.compare({ scores }, ({ inputs: { scores } }) => forEachK(scores, [2]));
    }
  }),
  scoresCase("none", "topK with k = 0 gives rows without elements", [0], ({ random }) =>
    distinctLogits(random, 3, 8),
  ),
  scoresCase("vector", "topK takes a single row of rank 1", [1, 3], ({ random }) => {
    const { data, dtype } = distinctLogits(random, 1, 9);
    return { data, shape: [9], dtype };
  }),
  scoresCase("rank-3", "topK works along the last axis of rank 3", [2], ({ random }) => {
    const { data, dtype } = distinctLogits(random, 12, 7);
    return { data, shape: [3, 4, 7], dtype };
  }),
];

const ties: readonly ConformanceCase[] = [
  scoresCase(
    "ties-all-equal",
    "of equal scores topK takes the lowest indices, in order",
    [1, 2, 8],
    () => generated([5, 33], "f32", (index) => [0, 1, -1, 0.125, 8][Math.floor(index / 33)] ?? 0),
  ),
  scoresCase(
    "ties-straddle-k",
    "where equals straddle the k-th place, topK takes the lower index",
    [2, 4],
    ({ random }) => straddling(random.integer(1, 3)),
  ),
  scoresCase(
    "ties-among-few-values",
    "topK orders many ties of few values by (score descending, index ascending)",
    [8],
    ({ random }) => random.integers([17, 64], 0, 3, "f32"),
  ),
  scoresCase(
    "ties-negative",
    "topK breaks ties of negative scores by index too",
    [8],
    ({ random }) => random.integers([17, 64], -4, -1, "f32"),
  ),
  topKCase("ties-distinct", "topK never names an index twice, however many ties", async (test) => {
    const scores = test.random.integers([65, 33], 0, 1, "f32");
    const got = await test.observe({ scores }, ({ inputs: { scores } }) => {
      const [, indices] = topK(scores, undefined, { k: 8 });
      return { indices };
    });
    expectDistinct(test, got.indices, 33);
  }),
];

/** Rows in which the same value stands on both sides of the 2nd and of the 4th place. */
function straddling(offset: number): HostTensor {
  const rows = [
    [3, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 3, 0],
    [0, 1, 3, 1, 1, 1],
    [1, 0, 1, 0, 1, 0],
    [2, 2, 2, 3, 3, 2],
  ];
  return hostTensor(
    rows.flat().map((value) => value - offset),
    "f32",
    [5, 6],
  );
}

const masks: readonly ConformanceCase[] = [
  topKCase("mask", "topK takes what the mask shows before anything that it hides", async (test) => {
    const inputs = {
      scores: distinctLogits(test.random, 17, 33),
      mask: test.random.bools([17, 33], 0.7),
    };
    await test.compare(inputs, ({ inputs: { scores, mask } }) => forEachK(scores, [4], mask));
  }),
  topKCase(
    "mask-fewer-than-k",
    "masked elements come last of all, in the order of their indices, and keep their scores",
    async (test) => {
      const scores = distinctLogits(test.random, 9, 12);
      const mask = generated([9, 12], "bool", (index) => ((index * 5) % 12 < 3 ? 1 : 0));
      await test.compare({ scores, mask }, ({ inputs: { scores, mask } }) =>
        forEachK(scores, [8, 12], mask),
      );
    },
  ),
  topKCase("mask-all", "a row that is masked whole is taken in order", async (test) => {
    const scores = distinctLogits(test.random, 3, 7);
    const mask = generated([3, 7], "bool", (index) => (Math.floor(index / 7) === 1 ? 0 : 1));
    await test.compare({ scores, mask }, ({ inputs: { scores, mask } }) =>
      forEachK(scores, [2, 7], mask),
    );
  }),
  topKCase("mask-below-nan", "a masked element ranks below NaN", async (test) => {
    const scores = edited(distinctLogits(test.random, 3, 7), [
      [1, Number.NaN],
      [7 + 3, Number.NaN],
      [7 + 4, Number.NaN],
      [14 + 6, Number.NaN],
    ]);
    const mask = generated([3, 7], "bool", (index) => (index % 7 === 3 || index % 7 === 0 ? 0 : 1));
    await test.compare({ scores, mask }, ({ inputs: { scores, mask } }) =>
      forEachK(scores, [7], mask),
    );
  }),
];

const laws: readonly ConformanceCase[] = [
  topKCase("rows-alone", "a row alone gives what it gives among others", async (test) => {
    const scores = distinctLogits(test.random, 9, 33);
    const run = async (scores: HostTensor): Promise<{ values: HostTensor; indices: HostTensor }> =>
      test.observe({ scores }, ({ inputs: { scores } }) => {
        const [values, indices] = topK(scores, undefined, { k: 4 });
        return { values, indices };
      });
    const whole = await run(scores);
    for (const row of upTo(9)) {
      const alone = await run(rowsOf(scores, [row]));
      test.same(`values of row ${row}`, alone.values.data, rowsOf(whole.values, [row]).data);
      test.same(`indices of row ${row}`, alone.indices.data, rowsOf(whole.indices, [row]).data);
    }
  }),
];

/** topK: shapes, ties, masks. */
export const topKCases: readonly ConformanceCase[] = [...shapes, ...ties, ...masks, ...laws];
