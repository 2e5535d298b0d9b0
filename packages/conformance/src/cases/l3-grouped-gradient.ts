import { type Tensor, groupedMatmulGradWeights } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";
import { type Grouped, offsetsOf, rowCount } from "./l3-grouped-matmul.ts";
import {
  type Uploaded,
  at,
  caseOf,
  holds,
  mapped,
  observed,
  rowsOf,
  sameRun,
  referenced,
  tilesOf,
  withRow,
} from "./l3-support.ts";

type GradientHosts = {
  readonly x: HostTensor;
  readonly dy: HostTensor;
  readonly offsets: HostTensor;
  readonly rowIndex: HostTensor | undefined;
};

function gradientInputs(
  { random }: CaseContext,
  grouped: Grouped,
  values: (shape: readonly number[]) => HostTensor = (shape) => random.normal(shape),
): GradientHosts {
  const { sizes, inner, width, before, sources } = grouped;
  const rows = rowCount(grouped);
  return {
    x: values([sources ?? rows, inner]),
    dy: values([rows, width]),
    offsets: offsetsOf(sizes, before),
    rowIndex: sources === undefined ? undefined : random.integers([rows], 0, sources - 1),
  };
}

function gradient(
  { x, dy, offsets, rowIndex }: Uploaded<GradientHosts>,
  transposed = false,
): Record<string, Tensor> {
  return { weights: groupedMatmulGradWeights(x, dy, offsets, rowIndex, { transposed }) };
}

const gradientCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  unsupported?: ConformanceCase["unsupported"],
): ConformanceCase =>
  caseOf("L3", `grouped-matmul-gradient/${what}`, {
    demand,
    extension: "grad",
    ops: [groupedMatmulGradWeights],
    run,
    ...(unsupported && { unsupported }),
  });

async function check(
  test: CaseContext,
  grouped: Grouped,
  values?: (shape: readonly number[]) => HostTensor,
): Promise<void> {
  const inputs = gradientInputs(test, grouped, values);
  await holds(test, inputs, (given) => gradient(given, grouped.transposed));
}

const sizeCase = (what: string, demand: string, grouped: Grouped): ConformanceCase =>
  gradientCase(what, demand, (test) => check(test, grouped));

const SOME = { sizes: [3, 5, 2, 7], inner: 9, width: 6 } as const;

/** Cases of `groupedMatmulGradWeights`. */
export const groupedGradientCases: readonly ConformanceCase[] = [
  sizeCase("plain", "each matrix gets the outer products of its own rows", SOME),
  sizeCase("transposed", "matrices may be wanted as [G, in, out]", { ...SOME, transposed: true }),
  sizeCase("row-index", "rows of x are read through an index", { ...SOME, sources: 6 }),
  sizeCase("empty-groups", "the matrix of a group without rows is zero", {
    ...SOME,
    sizes: [0, 4, 0, 0, 9, 0],
  }),
  sizeCase("no-rows", "without rows every matrix is zero", { ...SOME, sizes: [0, 0] }),
  sizeCase("one-full-group", "all rows in one group", { ...SOME, sizes: [0, 130, 0] }),
  sizeCase("many-rows", "groups of thousands of rows lose none", {
    sizes: [4099, 1, 3001],
    inner: 3,
    width: 2,
  }),
  ...[31, 33, 63, 64, 65, 129].map((size) =>
    gradientCase(`size-${size}`, `sizes of ${size} keep their last tile`, async (test) => {
      await check(test, { sizes: [size, 1, size], inner: 4, width: 3 });
      await check(test, { sizes: [3, 2], inner: size, width: 3 });
      await check(test, { sizes: [3, 2], inner: 3, width: size, transposed: true });
    }),
  ),
  gradientCase(
    "tiles",
    "sizes around the tiles of the manifest lose no element or row",
    async (test) => {
      for (const tile of tilesOf(test.capabilities)) {
        for (const size of [tile - 1, tile, tile + 1].filter((one) => one > 0)) {
          await check(test, { sizes: [size, 2], inner: 3, width: 4 });
          await check(test, { sizes: [2, 3], inner: size, width: size === tile ? size : 2 });
        }
      }
    },
    (capabilities) =>
      tilesOf(capabilities).length === 0 ? "the manifest names no tileSizes" : undefined,
  ),
  gradientCase(
    "window",
    "rows outside the window are not read, whatever they hold",
    async (test) => {
      const grouped: Grouped = { ...SOME, before: 5, after: 66 };
      const total = rowCount(grouped);
      const clean = gradientInputs(test, grouped);
      let { x, dy } = clean;
      for (const row of [0, 4, total - 66, total - 1]) {
        x = withRow(x, row, Number.NaN);
        dy = withRow(dy, row, Number.NaN);
      }
      await holds(test, { ...clean, x, dy }, (given) => gradient(given));
    },
  ),
  gradientCase(
    "row-index-outside",
    "a row whose index is outside 0…N−1 adds nothing, even where its gradient is NaN",
    async (test) => {
      const clean = gradientInputs(test, { ...SOME, sources: 6 });
      const outside = [-1, 6, 2 ** 31 - 1, -(2 ** 31)];
      const indices = hostTensor(clean.rowIndex?.data ?? [], "i32");
      const rowIndex = mapped(indices, (value, row) =>
        row % 4 === 1 ? (outside[((row - 1) / 4) % 4] ?? -1) : value,
      );
      const dy = withRow(clean.dy, 1, Number.NaN);
      await holds(test, { ...clean, rowIndex, dy }, (given) => gradient(given));
    },
  ),
  gradientCase(
    "nan-group",
    "NaN in a row of one group leaves the matrices of the others as they are",
    async (test) => {
      const clean = gradientInputs(test, { sizes: [33, 4, 30], inner: 9, width: 6 });
      const dirty = { ...clean, x: withRow(clean.x, 34, Number.NaN) };
      const body = (given: Uploaded<GradientHosts>): Record<string, Tensor> => gradient(given);
      const bounded = at(await referenced(test, clean, body), "weights");
      const before = at(await observed(test, clean, body), "weights");
      const after = at(await observed(test, dirty, body), "weights");
      const data = after.data.slice();
      data.set(rowsOf(before)[1] ?? [], data.length / 3);
      sameRun(test, "weights of other groups", { ...after, data }, before, bounded);
    },
  ),
  gradientCase(
    "exact",
    "sums of small dyadic products are exact: a lost or doubled row shows",
    (test) =>
      check(test, { sizes: [65, 0, 31, 4], inner: 12, width: 7, sources: 40 }, (shape) =>
        test.random.dyadic(shape),
      ),
  ),
];
