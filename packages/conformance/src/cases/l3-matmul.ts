import { type Tensor, concat, matmul } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { type CaseParts, caseOf, holds, mapped, staysInRow, tilesOf } from "./l3-support.ts";

type Sizes = readonly [rows: number, inner: number, columns: number];

const matmulCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase => caseOf("L3", `matmul/${what}`, { demand, ops: [matmul], run, ...more });

/** Products of several sizes in one program. */
async function products(
  test: CaseContext,
  list: readonly Sizes[],
  values: (shape: readonly number[]) => HostTensor = (shape) => test.random.normal(shape),
): Promise<void> {
  const inputs: Record<string, HostTensor> = {};
  for (const [index, [rows, inner, columns]] of list.entries()) {
    inputs[`a${index}`] = values([rows, inner]);
    inputs[`b${index}`] = values([inner, columns]);
  }
  await holds(test, inputs, (given) =>
    Object.fromEntries(
      list.map((sizes, index) => [
        sizes.join("·"),
        matmul(given[`a${index}`] as Tensor, given[`b${index}`] as Tensor, {}),
      ]),
    ),
  );
}

const around = (size: number): Sizes[] => [
  [size, 7, 5],
  [5, size, 3],
  [4, 6, size],
  [size, size, 2],
  [2, size, size],
];

const TRANSPOSES = [
  ["plain", false, false],
  ["transposed-a", true, false],
  ["transposed-b", false, true],
  ["transposed-both", true, true],
] as const;

const transposes = TRANSPOSES.map(([what, transposeA, transposeB]) =>
  matmulCase(`${what}`, `matmul ${what} multiplies rows by columns`, async (test) => {
    const sizes: readonly Sizes[] = [
      [5, 7, 3],
      [33, 65, 17],
      [1, 1, 1],
    ];
    const inputs: Record<string, HostTensor> = {};
    for (const [index, [rows, inner, columns]] of sizes.entries()) {
      inputs[`a${index}`] = test.random.normal(transposeA ? [inner, rows] : [rows, inner]);
      inputs[`b${index}`] = test.random.normal(transposeB ? [columns, inner] : [inner, columns]);
    }
    await holds(test, inputs, (given) =>
      Object.fromEntries(
        sizes.map((_, index) => [
          `y${index}`,
          matmul(given[`a${index}`] as Tensor, given[`b${index}`] as Tensor, {
            transposeA,
            transposeB,
          }),
        ]),
      ),
    );
  }),
);

const SIZES = [31, 32, 33, 63, 64, 65, 127, 128, 129] as const;

/** Cases of `matmul`. */
export const matmulCases: readonly ConformanceCase[] = [
  ...transposes,
  matmulCase(
    "batches",
    "leading dimensions of both sides are batches and broadcast to one another",
    async (test) => {
      const a = test.random.normal([2, 1, 5, 7]);
      const b = test.random.normal([3, 7, 4]);
      const rows = test.random.normal([5, 7]);
      const columns = test.random.normal([7, 4]);
      await holds(test, { a, b, rows, columns }, (given) => ({
        both: matmul(given.a, given.b, {}),
        left: matmul(given.a, given.columns, {}),
        right: matmul(given.rows, given.b, {}),
        turned: matmul(given.b, given.a, { transposeA: true, transposeB: true }),
      }));
    },
  ),
  matmulCase("empty", "K = 0 gives zeros, and empty sides give empty products", async (test) => {
    const sizes: readonly Sizes[] = [
      [3, 0, 4],
      [0, 3, 4],
      [3, 4, 0],
      [0, 0, 0],
    ];
    await products(test, sizes);
    const [a, b] = [test.random.normal([2, 3, 0]), test.random.normal([0, 4])];
    const none = test.random.normal([0, 3, 4]);
    await holds(test, { a, b, none }, (given) => ({
      zeros: matmul(given.a, given.b, {}),
      nothing: matmul(given.none, given.none, { transposeB: true }),
    }));
  }),
  matmulCase("one-row", "a single row or column goes by the same sums", (test) =>
    products(test, [
      [1, 129, 65],
      [65, 129, 1],
      [1, 300, 1],
    ]),
  ),
  ...SIZES.map((size) =>
    matmulCase(`size-${size}`, `sizes of ${size} lose no element, row or column`, (test) =>
      products(test, around(size)),
    ),
  ),
  matmulCase(
    "tiles",
    "sizes around the tiles of the manifest lose no element, row or column",
    async (test) => {
      for (const tile of tilesOf(test.capabilities)) {
        await products(test, [tile - 1, tile, tile + 1].filter((size) => size > 0).flatMap(around));
      }
    },
    {
      unsupported: (capabilities) =>
        tilesOf(capabilities).length === 0 ? "the manifest names no tileSizes" : undefined,
    },
  ),
  matmulCase(
    "exact",
    "products of small dyadic numbers are exact, so every term must be there once",
    (test) =>
      products(
        test,
        [
          [17, 64, 9],
          [65, 33, 66],
        ],
        (shape) => test.random.dyadic(shape),
      ),
  ),
  matmulCase(
    "all-positive",
    "long sums of positive numbers are held in the accumulation that the manifest declares",
    (test) => products(test, [[3, 2049, 4]], (shape) => test.random.uniform(shape, 0.5, 1.5)),
  ),
  matmulCase(
    "cancellation",
    "long sums that nearly cancel stay within the bound of their terms",
    async (test) => {
      const half = test.random.normal([3, 600]);
      const other = test.random.normal([600, 4]);
      await holds(
        test,
        { half, other, minus: mapped(other, (value) => -value * (1 + 2 ** -10)) },
        (given) => ({
          y: matmul(
            concat(given.half, given.half, { axis: 1 }),
            concat(given.other, given.minus, { axis: 0 }),
            {},
          ),
        }),
        { ambiguous: 1 },
      );
    },
    { ops: [matmul, concat] },
  ),
  matmulCase("many-rows", "more than 65 535 rows, or columns, are all computed", (test) =>
    products(test, [
      [70_003, 2, 1],
      [1, 2, 70_003],
    ]),
  ),
  matmulCase("many-batches", "more than 65 535 batches are all computed", async (test) => {
    const [a, b] = [test.random.normal([66_001, 1, 2]), test.random.normal([66_001, 2, 1])];
    await holds(test, { a, b }, (given) => ({ y: matmul(given.a, given.b, {}) }));
  }),
  matmulCase("nan-row", "NaN in one row of the left side stays in that row", (test) =>
    staysInRow(
      test,
      { a: test.random.normal([66, 33]), b: test.random.normal([33, 17]) },
      "a",
      3,
      (given) => ({ y: matmul(given.a, given.b, {}) }),
    ),
  ),
];
