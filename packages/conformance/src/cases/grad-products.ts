import {
  groupRows,
  gatherRows,
  groupedMatmul,
  groupedMatmulGradWeights,
  linear,
  matmul,
  roundBlocks,
  segmentSum,
} from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { type Grouped, groupedInputs } from "./l3-grouped-matmul.ts";
import { gradientCase, gradientsHold } from "./grad-support.ts";
import { ROUND_OPS, stepped } from "./rounded-support.ts";

const TRANSPOSES = [
  ["plain", false, false],
  ["transposed-a", true, false],
  ["transposed-b", false, true],
  ["transposed-both", true, true],
] as const;

const matmuls: readonly ConformanceCase[] = [
  ...TRANSPOSES.map(([what, transposeA, transposeB]) =>
    gradientCase(
      "L3",
      `matmul-${what}`,
      `both sides of a ${what} product get their gradient`,
      [matmul],
      async (test) => {
        const inputs = {
          a: test.random.normal(transposeA ? [2, 17, 5] : [2, 5, 17]),
          b: test.random.normal(transposeB ? [2, 9, 17] : [2, 17, 9]),
        };
        await gradientsHold(test, inputs, ["a", "b"], ({ a, b }) =>
          matmul(a, b, { transposeA, transposeB }),
        );
      },
    ),
  ),
  gradientCase(
    "L3",
    "linear",
    "rows and matrix of linear get their gradient, whatever the rank of the rows",
    [matmul],
    async (test) => {
      for (const shape of [[17], [5, 17], [2, 3, 17]]) {
        const inputs = { x: test.random.normal(shape), weight: test.random.normal([9, 17]) };
        await gradientsHold(test, inputs, ["x", "weight"], ({ x, weight }) =>
          linear(x, weight, undefined, {}),
        );
      }
    },
  ),
  gradientCase(
    "L3",
    "round-blocks",
    "the gradient passes through roundBlocks as if nothing were rounded",
    ROUND_OPS,
    (test) =>
      gradientsHold(test, { x: stepped(test.random, [5, 64]) }, ["x"], ({ x }) => roundBlocks(x)),
  ),
  gradientCase(
    "L3",
    "matmul-shared",
    "a matrix that all batches share gets the sum over them",
    [matmul],
    async (test) => {
      const inputs = { a: test.random.normal([4, 5, 7]), b: test.random.normal([7, 6]) };
      await gradientsHold(test, inputs, ["a", "b"], ({ a, b }) => [
        matmul(a, b, {}),
        matmul(b, a, { transposeA: true, transposeB: true }),
      ]);
    },
  ),
  gradientCase(
    "L3",
    "matmul-broadcast",
    "batches that were broadcast get the sum over their copies",
    [matmul],
    async (test) => {
      const inputs = { a: test.random.normal([2, 1, 5, 7]), b: test.random.normal([3, 7, 4]) };
      await gradientsHold(test, inputs, ["a", "b"], ({ a, b }) => matmul(a, b, {}));
    },
  ),
];

const SOME = { sizes: [3, 0, 5, 9], inner: 7, width: 4 } as const;
const GROUPED: readonly (readonly [string, Grouped])[] = [
  ["plain", SOME],
  ["transposed", { ...SOME, transposed: true }],
  ["row-index", { ...SOME, sources: 6 }],
  ["window", { ...SOME, before: 2, after: 3, sources: 6, transposed: true }],
];

const grouped = GROUPED.flatMap(([what, options]) => {
  const attributes = { transposed: options.transposed ?? false };
  return [
    gradientCase(
      "L3",
      `grouped-matmul-${what}`,
      `rows and matrices of a grouped product (${what}) get their gradient`,
      [groupedMatmul, groupedMatmulGradWeights, groupRows, gatherRows, segmentSum],
      (test) =>
        gradientsHold(test, groupedInputs(test, options), ["x", "weights"], (given) =>
          groupedMatmul(given.x, given.weights, given.offsets, given.rowIndex, attributes),
        ),
    ),
    gradientCase(
      "L3",
      `grouped-gradient-${what}`,
      `the gradient of the matrices (${what}) can itself be differentiated`,
      [groupedMatmul, groupedMatmulGradWeights, groupRows, gatherRows, segmentSum],
      async (test) => {
        const { x, offsets, rowIndex } = groupedInputs(test, options);
        const rows = rowIndex?.shape[0] ?? x.shape[0] ?? 0;
        const inputs = { x, offsets, rowIndex, dy: test.random.normal([rows, options.width]) };
        await gradientsHold(test, inputs, ["x", "dy"], (given) =>
          groupedMatmulGradWeights(given.x, given.dy, given.offsets, given.rowIndex, attributes),
        );
      },
    ),
  ];
});

/** Gradients of products. */
export const productGradientCases: readonly ConformanceCase[] = [...matmuls, ...grouped];
