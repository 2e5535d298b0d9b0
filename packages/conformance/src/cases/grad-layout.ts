import {
  cast,
  compare,
  concat,
  cumsum,
  fill,
  gatherRows,
  groupRows,
  iota,
  pad,
  putAlong,
  reduce,
  segmentSum,
  slice,
  takeAlong,
  topK,
  transpose,
  where,
  writeSlice,
} from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { hostTensor } from "../host-tensor.ts";
import { gradientCase, gradientsHold } from "./grad-support.ts";
import { mapped } from "./l3-support.ts";

const layout: readonly ConformanceCase[] = [
  gradientCase("L0", "reshape", "a view's gradient is a view", [], (test) =>
    gradientsHold(test, { x: test.random.normal([4, 6]) }, ["x"], ({ x }) => [
      x.reshape([3, 8]),
      x.reshape([24]),
    ]),
  ),
  gradientCase("L0", "transpose", "axes go back where they were", [transpose], (test) =>
    gradientsHold(test, { x: test.random.normal([2, 3, 4]) }, ["x"], ({ x }) => [
      transpose(x, { permutation: [2, 0, 1] }),
      transpose(x, { permutation: [1, 0, 2] }),
    ]),
  ),
  gradientCase("L0", "slice", "outside the box the gradient is 0", [slice, writeSlice], (test) =>
    gradientsHold(test, { x: test.random.normal([5, 7]) }, ["x"], ({ x }) => [
      slice(x, { starts: [1, 2], sizes: [3, 4] }),
      slice(x, { starts: [4, 0], sizes: [1, 7] }),
    ]),
  ),
  gradientCase(
    "L0",
    "write-slice",
    "what was written over gets 0, what was written gets its box",
    [slice, writeSlice],
    async (test) => {
      const inputs = { x: test.random.normal([5, 7]), update: test.random.normal([2, 3]) };
      await gradientsHold(test, inputs, ["x", "update"], ({ x, update }) =>
        writeSlice(x, update, { starts: [3, 1] }),
      );
    },
  ),
  gradientCase("L0", "concat", "each piece gets its own part", [concat, slice], async (test) => {
    const inputs = { a: test.random.normal([3, 2]), b: test.random.normal([3, 5]) };
    await gradientsHold(test, inputs, ["a", "b"], ({ a, b }) => concat(a, b, a, { axis: 1 }));
  }),
  gradientCase("L0", "pad", "what was added has no gradient", [pad, slice], (test) =>
    gradientsHold(test, { x: test.random.normal([3, 4]) }, ["x"], ({ x }) =>
      pad(x, { before: [1, 0], after: [0, 3], value: 7 }),
    ),
  ),
];

const reductions: readonly ConformanceCase[] = [
  gradientCase("L0", "reduce-sum", "every term gets the gradient of the sum", [reduce], (test) =>
    gradientsHold(test, { x: test.random.normal([3, 4, 5]) }, ["x"], ({ x }) => [
      reduce(x, { kind: "sum", axes: [1] }),
      reduce(x, { kind: "sum", axes: [0, 2], keepDims: true }),
    ]),
  ),
  ...(["max", "min"] as const).map((kind) =>
    gradientCase(
      "L0",
      `reduce-${kind}`,
      `of ${kind} the first extreme element alone gets the gradient`,
      [reduce, compare, cast, transpose, cumsum, where],
      async (test) => {
        const x = { ...test.random.integers([6, 9], -2, 2), dtype: "f32" } as const;
        const floats = { ...x, data: Float32Array.from(x.data) };
        await gradientsHold(test, { x: floats }, ["x"], (given) => [
          reduce(given.x, { kind, axes: [1] }),
          reduce(given.x, { kind, axes: [0] }),
        ]);
      },
    ),
  ),
  gradientCase("L0", "cumsum", "running sums have running sums the other way", [cumsum], (test) =>
    gradientsHold(test, { x: test.random.normal([4, 9]) }, ["x"], ({ x }) =>
      [false, true].flatMap((exclusive) =>
        [false, true].map((reverse) => cumsum(x, { axis: 1, exclusive, reverse })),
      ),
    ),
  ),
];

const rows: readonly ConformanceCase[] = [
  gradientCase(
    "L2",
    "gather-rows",
    "a row of a table gets the sum of what came from its copies; ids outside add nothing",
    [gatherRows, groupRows, segmentSum],
    async (test) => {
      const ids = mapped(test.random.integers([70], 0, 8), (id, place) =>
        place % 9 === 4 ? ([-1, 9, 2 ** 30][place % 3] ?? -1) : id === 5 ? 4 : id,
      );
      await gradientsHold(test, { table: test.random.normal([9, 5]), ids }, ["table"], (given) =>
        gatherRows(given.table, given.ids),
      );
    },
  ),
  gradientCase(
    "L2",
    "gather-rows-crowded",
    "all ids are one: its row gets the sum of thousands",
    [gatherRows, groupRows, segmentSum],
    async (test) => {
      const ids = hostTensor(new Int32Array(3001).fill(2), "i32");
      await gradientsHold(test, { table: test.random.normal([4, 3]), ids }, ["table"], (given) =>
        gatherRows(given.table, given.ids),
      );
    },
  ),
  gradientCase(
    "L2",
    "take-along",
    "elements get what came from their copies, each once where indices are unique",
    [takeAlong, putAlong, iota, compare, where],
    async (test) => {
      const x = test.random.normal([5, 6]);
      const unique = hostTensor([3, 0, 5, 1, 2, 4, 0, 9, 5, 2], "i32", [5, 2]);
      const repeated = hostTensor([3, 3, 5, 5, 2, 2, 0, -1, 4, 4], "i32", [5, 2]);
      await gradientsHold(test, { x, unique, repeated }, ["x"], (given) => [
        takeAlong(given.x, given.unique, { axis: 1, unique: true }),
        takeAlong(given.x, given.repeated, { axis: 1 }),
      ]);
    },
  ),
  gradientCase(
    "L2",
    "put-along",
    "what was put over gets 0, what was put gets its places",
    [takeAlong, putAlong],
    async (test) => {
      const inputs = {
        x: test.random.normal([5, 6]),
        indices: hostTensor([3, 0, 5, 1, 2, 4, 0, 9, 5, 2], "i32", [5, 2]),
        updates: test.random.normal([5, 2]),
      };
      await gradientsHold(test, inputs, ["x", "updates"], ({ x, indices, updates }) =>
        putAlong(x, indices, updates, { axis: 1 }),
      );
    },
  ),
  gradientCase(
    "L2",
    "segment-sum",
    "each row gets the gradient of its segment, a skipped one 0",
    [segmentSum, gatherRows],
    async (test) => {
      const ids = hostTensor([-1, 0, 0, 2, 2, 2, 5, 7], "i32");
      await gradientsHold(test, { rows: test.random.normal([8, 3]), ids }, ["rows"], (given) =>
        segmentSum(given.rows, given.ids, { segments: 6 }),
      );
    },
  ),
  gradientCase(
    "L1",
    "top-k",
    "the chosen elements get the gradient of their values, the others 0",
    [topK, putAlong, fill],
    (test) =>
      gradientsHold(test, { scores: test.random.normal([7, 12]) }, ["scores"], ({ scores }) => {
        const [values] = topK(scores, undefined, { k: 3 });
        return values;
      }),
  ),
];

/** Gradients of ops that move, add up and choose. */
export const layoutGradientCases: readonly ConformanceCase[] = [...layout, ...reductions, ...rows];
