import { type Tensor, groupedMatmul } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";
import {
  type CaseParts,
  type Uploaded,
  caseOf,
  constant,
  holds,
  mapped,
  observed,
  at,
  rowsOf,
  staysInRow,
  tilesOf,
  withRow,
} from "./l3-support.ts";

/** What a grouped product is asked for. */
export interface Grouped {
  /** Rows of each group. */
  readonly sizes: readonly number[];
  readonly inner: number;
  readonly width: number;
  /** Rows before the first group, and after the last. 0 unless given. */
  readonly before?: number | undefined;
  readonly after?: number | undefined;
  readonly transposed?: boolean | undefined;
  /** Rows of x where an index is used; without it rows are read in order. */
  readonly sources?: number | undefined;
}

/** Offsets `[G + 1]` of groups that begin behind `before` rows. */
export function offsetsOf(sizes: readonly number[], before = 0): HostTensor {
  const offsets = [before];
  for (const size of sizes) offsets.push((offsets.at(-1) ?? 0) + size);
  return hostTensor(offsets, "i32");
}

/** Rows A of a grouped product, those outside the window included. */
export function rowCount({ sizes, before = 0, after = 0 }: Grouped): number {
  return sizes.reduce((total, size) => total + size, before) + after;
}

/** Inputs of a grouped product. */
export type GroupedHosts = {
  readonly x: HostTensor;
  readonly weights: HostTensor;
  readonly offsets: HostTensor;
  readonly rowIndex: HostTensor | undefined;
};

type Values = (shape: readonly number[]) => HostTensor;

/** Draws the inputs of a grouped product. */
export function groupedInputs(
  { random }: Pick<CaseContext, "random">,
  grouped: Grouped,
  values: Values = (shape) => random.normal(shape),
): GroupedHosts {
  const { sizes, inner, width, before = 0, transposed, sources } = grouped;
  const rows = rowCount(grouped);
  return {
    x: values([sources ?? rows, inner]),
    weights: values([sizes.length, ...(transposed ? [inner, width] : [width, inner])]),
    offsets: offsetsOf(sizes, before),
    rowIndex: sources === undefined ? undefined : random.integers([rows], 0, sources - 1),
  };
}

function product(
  { x, weights, offsets, rowIndex }: Uploaded<GroupedHosts>,
  transposed = false,
): Record<string, Tensor> {
  return { y: groupedMatmul(x, weights, offsets, rowIndex, { transposed }) };
}

const groupedCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase =>
  caseOf("L3", `grouped-matmul/${what}`, { demand, ops: [groupedMatmul], run, ...more });

/** One product, held to the references. */
async function check(test: CaseContext, grouped: Grouped, values?: Values): Promise<void> {
  const inputs = groupedInputs(test, grouped, values);
  await holds(test, inputs, (given) => product(given, grouped.transposed));
}

const sizeCase = (
  what: string,
  demand: string,
  grouped: Grouped,
  more?: Partial<CaseParts>,
): ConformanceCase => groupedCase(what, demand, (test) => check(test, grouped), more);

const SOME = { sizes: [3, 5, 2, 7], inner: 9, width: 6 } as const;
const TAILS = [31, 32, 33, 63, 64, 65, 127, 128, 129] as const;
const WIDTHS = [1, 3, 16, 31, 33, 63, 64, 65, 129] as const;

const shapes: readonly ConformanceCase[] = [
  sizeCase("plain", "each group of rows meets its own matrix", SOME),
  sizeCase("transposed", "matrices may be held as [G, in, out]", { ...SOME, transposed: true }),
  sizeCase("row-index", "rows are read through an index, again where it repeats", {
    ...SOME,
    sources: 6,
  }),
  sizeCase("row-index-transposed", "an index and transposed matrices go together", {
    ...SOME,
    sources: 6,
    transposed: true,
  }),
  sizeCase("empty-groups", "groups without rows take none from their neighbours", {
    ...SOME,
    sizes: [0, 4, 0, 0, 3, 5, 0],
  }),
  sizeCase("one-full-group", "all rows in one group", { ...SOME, sizes: [0, 0, 70, 0] }),
  sizeCase("first-group-only", "all rows in the first group", { ...SOME, sizes: [37, 0, 0] }),
  sizeCase("last-group-only", "all rows in the last group", { ...SOME, sizes: [0, 0, 37] }),
  sizeCase("no-rows", "no rows at all", { ...SOME, sizes: [0, 0, 0] }),
  sizeCase("empty-inner", "K = 0 gives rows of zeros", { ...SOME, inner: 0 }),
  sizeCase("one-row-each", "288 groups of one row", {
    sizes: new Array<number>(288).fill(1),
    inner: 5,
    width: 3,
  }),
  sizeCase("many-rows", "more than 65 535 rows are all computed", {
    sizes: [33_001, 0, 37_002],
    inner: 2,
    width: 2,
  }),
  ...TAILS.map((size) =>
    sizeCase(`tail-${size}`, `groups of ${size} rows keep their last tile`, {
      sizes: [size, 1, size],
      inner: 5,
      width: 7,
    }),
  ),
  ...WIDTHS.map((size) =>
    groupedCase(`width-${size}`, `widths of ${size} keep their last tile`, async (test) => {
      await check(test, { sizes: [4, 9, 2], inner: size, width: 5 });
      await check(test, { sizes: [4, 9, 2], inner: 5, width: size });
      await check(test, { sizes: [4, 9, 2], inner: size, width: size, transposed: true });
    }),
  ),
  groupedCase(
    "tiles",
    "sizes around the tiles of the manifest lose no element or row",
    async (test) => {
      for (const tile of tilesOf(test.capabilities)) {
        for (const size of [tile - 1, tile, tile + 1].filter((one) => one > 0)) {
          await check(test, { sizes: [size, 2, size], inner: 3, width: 4 });
          await check(test, { sizes: [2, 3], inner: size, width: 4, sources: 4 });
          await check(test, { sizes: [2, 3], inner: 3, width: size });
        }
      }
    },
    {
      unsupported: (capabilities) =>
        tilesOf(capabilities).length === 0 ? "the manifest names no tileSizes" : undefined,
    },
  ),
];

const windows: readonly ConformanceCase[] = [
  groupedCase(
    "window",
    "rows before offsets[0] and from offsets[G] on are zero, and nothing is read for them",
    async (test) => {
      const grouped: Grouped = { ...SOME, before: 5, after: 70 };
      const clean = groupedInputs(test, grouped);
      const total = rowCount(grouped);
      let x = clean.x;
      for (const row of [0, 4, total - 70, total - 1]) x = withRow(x, row, Number.NaN);
      const inputs = { ...clean, x };
      await holds(test, inputs, (given) => product(given));
      const y = at(await observed(test, inputs, (given) => product(given)), "y");
      const outside = rowsOf(y).filter((_, row) => row < 5 || row >= total - 70);
      test.expect(
        outside.every((row) => row.every((value) => value === 0)),
        "a row outside the window is not zero",
      );
    },
  ),
  groupedCase("window-index", "the window and a row index go together", async (test) => {
    await check(test, { ...SOME, before: 3, after: 66, sources: 8 });
    await check(test, { ...SOME, before: 66, after: 1, sources: 8, transposed: true });
  }),
  groupedCase("empty-window", "a window without rows gives zeros", (test) =>
    check(test, { ...SOME, sizes: [0, 0, 0], before: 4, after: 9 }),
  ),
  groupedCase(
    "row-index-outside",
    "a row index outside 0…N−1 reads a row of zeros, even at the ends of the range of i32",
    async (test) => {
      const inputs = groupedInputs(test, { ...SOME, sources: 6 });
      const outside = [-1, 6, 7, -(2 ** 31), 2 ** 31 - 1];
      const rowIndex = mapped(hostTensor(inputs.rowIndex?.data ?? [], "i32"), (value, row) =>
        row % 3 === 0 ? (outside[(row / 3) % outside.length] ?? -1) : value,
      );
      await holds(test, { ...inputs, rowIndex }, (given) => product(given));
    },
  ),
];

const values: readonly ConformanceCase[] = [
  groupedCase(
    "exact",
    "products of small dyadic numbers are exact: a swapped row, a wrong group or a lost term shows",
    async (test) => {
      const grouped: Grouped = { sizes: [33, 0, 1, 64, 17, 40], inner: 48, width: 20 };
      const dyadic: Values = (shape) => test.random.dyadic(shape);
      await check(test, grouped, dyadic);
      await check(test, { ...grouped, sources: 30, before: 2, after: 3 }, dyadic);
    },
  ),
  groupedCase(
    "own-matrix",
    "a matrix that is one number everywhere shows which group each row took",
    async (test) => {
      const sizes = [1, 2, 0, 3, 65, 1, 0, 7];
      const numbers = sizes.flatMap((_, group) => new Array<number>(6).fill(group + 1));
      const inputs = {
        x: constant([79, 3], 1),
        weights: hostTensor(numbers, "f32", [sizes.length, 2, 3]),
        offsets: offsetsOf(sizes),
        rowIndex: undefined,
      };
      const y = at(await observed(test, inputs, (given) => product(given)), "y");
      const wanted = sizes.flatMap((size, group) =>
        new Array<number>(2 * size).fill(3 * (group + 1)),
      );
      test.same("group of each row", y.data, Float32Array.from(wanted));
    },
  ),
  groupedCase(
    "all-positive",
    "long sums of positive numbers are held in the accumulation that the manifest declares",
    (test) =>
      check(test, { sizes: [2, 1], inner: 2049, width: 3 }, (shape) =>
        test.random.uniform(shape, 0.5, 1.5),
      ),
  ),
  groupedCase("nan-row", "NaN in one row of x stays in that row", (test) =>
    staysInRow(
      test,
      groupedInputs(test, { sizes: [33, 2, 31], inner: 33, width: 9 }),
      "x",
      34,
      (given) => product(given),
    ),
  ),
];

/** Cases of `groupedMatmul`. */
export const groupedMatmulCases: readonly ConformanceCase[] = [...shapes, ...windows, ...values];
