import { type DType, gatherRows } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { generated, hostTensor } from "../host-tensor.ts";
import { ALL_DTYPES, anyValues } from "./l0-support.ts";
import { tokenCounts } from "./l1-route-shapes.ts";
import { sameIds, exactly, upTo } from "./l1-support.ts";
import { MANY, dtypeCase, permuteCase } from "./l2-support.ts";

/** Widths of rows: none, odd, a word of bytes, off a tile. */
const WIDTHS = [0, 1, 3, 4, 33] as const;

function gatherCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return permuteCase(`gather-rows/${id}`, demand, [gatherRows], run);
}

const dtypes = ALL_DTYPES.map((dtype: DType) =>
  dtypeCase(
    `gather-rows/${dtype}`,
    `gatherRows copies rows of ${dtype}, of every width, unchanged`,
    [gatherRows],
    dtype,
    async (test) => {
      const tables = Object.fromEntries(
        WIDTHS.map((width) => [`w${width}`, anyValues(test.random, [37, width], dtype)]),
      );
      const ids = test.random.integers([65], 0, 36);
      await test.compare({ ...tables, ids }, ({ inputs }) =>
        Object.fromEntries(
          Object.entries(inputs)
            .filter(([name]) => name !== "ids")
            .map(([name, table]) => [name, gatherRows(table, inputs.ids)]),
        ),
      );
    },
  ),
);

/** Rows by id. */
export const gatherRowsCases: readonly ConformanceCase[] = [
  ...dtypes,
  gatherCase("out-of-range", "an id outside 0 … N − 1 gives a row of zeros", async (test) => {
    const outside = [-1, 7, 8, 2 ** 31 - 1, -(2 ** 31), 65536, -7];
    const ids = outside.flatMap((id, at) => [id, at % 7]);
    const inputs = { table: test.random.normal([7, 5]), ids: hostTensor(ids, "i32") };
    await test.compare(inputs, ({ inputs: { table, ids } }) => ({ rows: gatherRows(table, ids) }));
  }),
  gatherCase("empty-table", "every id of an empty table gives zeros", async (test) => {
    const inputs = { table: hostTensor([], "f32", [0, 3]), ids: hostTensor([0, -1, 1], "i32") };
    await test.compare(inputs, ({ inputs: { table, ids } }) => ({ rows: gatherRows(table, ids) }));
  }),
  gatherCase("no-ids", "no ids give no rows", async (test) => {
    const inputs = { table: test.random.normal([7, 5]), ids: hostTensor([], "i32", [0]) };
    await test.compare(inputs, ({ inputs: { table, ids } }) => ({ rows: gatherRows(table, ids) }));
  }),
  gatherCase("ranks", "ids of any shape take rows of any rank", async (test) => {
    const inputs = {
      vector: test.random.normal([11]),
      cube: test.random.normal([11, 3, 5]),
      scalar: hostTensor([7], "i32", []),
      square: test.random.integers([4, 6], 0, 10),
    };
    await test.compare(inputs, ({ inputs: { vector, cube, scalar, square } }) => ({
      one: gatherRows(vector, scalar),
      many: gatherRows(vector, square),
      plane: gatherRows(cube, scalar),
      planes: gatherRows(cube, square),
    }));
  }),
  gatherCase("many-ids", `gatherRows takes ${MANY} rows, the last too`, async (test) => {
    const inputs = { table: test.random.normal([9, 1]), ids: test.random.integers([MANY], -1, 9) };
    await test.compare(inputs, ({ inputs: { table, ids } }) => ({ rows: gatherRows(table, ids) }));
  }),
  gatherCase(
    "large-table",
    `gatherRows finds rows anywhere in a table of ${MANY}`,
    async (test) => {
      const ids = [0, 1, 65_535, 65_536, 65_537, MANY - 1, MANY];
      const inputs = {
        table: generated([MANY, 2], "i32", (index) => index),
        ids: hostTensor(ids, "i32"),
      };
      await test.compare(inputs, ({ inputs: { table, ids } }) => ({
        rows: gatherRows(table, ids),
      }));
    },
  ),
  gatherCase(
    "around-tiles",
    "every row comes where their number is around a tile",
    async (test) => {
      const table = test.random.normal([33, 7]);
      for (const count of tokenCounts(test.capabilities)) {
        const inputs = { table, ids: test.random.integers([count], -1, 33) };
        await test.compare(inputs, ({ inputs: { table, ids } }) => ({
          rows: gatherRows(table, ids),
        }));
      }
    },
  ),
  gatherCase(
    "there-and-back",
    "rows by a permutation and by its inverse are the table",
    async (test) => {
      const table = test.random.normal([129, 5]);
      const order = test.random.permutation(129);
      const inverse = hostTensor(
        upTo(129).map((row) => order.data.indexOf(row)),
        "i32",
      );
      const { back } = await test.observe(
        { table, order, inverse },
        ({ inputs: { table, order, inverse } }) => ({
          back: gatherRows(gatherRows(table, order), inverse),
        }),
      );
      sameIds(test, "rows", back, exactly(table));
    },
  ),
];
