import { type Backend, type Shape, argsort, groupRows, topK } from "@moiety/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

/** Few distinct values, so that most draws have ties, and NaN, both zeros and infinities. */
const scores = fc.constantFrom(NaN, -Infinity, -1, -0, 0, 0.5, 0.5, 2, Infinity);
const rows = fc.integer({ min: 0, max: 9 }).chain((size) =>
  fc.array(fc.array(fc.tuple(scores, fc.boolean()), { minLength: size, maxLength: size }), {
    minLength: 1,
    maxLength: 4,
  }),
);

/** A place to be ranked: NaN as the lowest number of all, both zeros as one. */
const rank = (value: number) => (Number.isNaN(value) ? [-1, 0] : [0, value === 0 ? 0 : value]);

function naiveOrder(row: [number, boolean][], masked: boolean, descending: boolean): number[] {
  const order = row.map((_, index) => index);
  // An insertion sort moves an element only past strictly higher-ranking ones, so it is stable.
  const before = (a: number, b: number): boolean => {
    const [x, keepX] = row[a] ?? [0, true];
    const [y, keepY] = row[b] ?? [0, true];
    if (masked && keepX !== keepY) return keepX;
    if (masked && !keepX) return false;
    const [p = 0, q = 0] = rank(x);
    const [r = 0, s = 0] = rank(y);
    if (p !== r) return descending ? p > r : p < r;
    return descending ? q > s : q < s;
  };
  for (let end = 1; end < order.length; end++) {
    for (let at = end; at > 0 && before(order[at] ?? 0, order[at - 1] ?? 0); at--) {
      [order[at - 1], order[at]] = [order[at] ?? 0, order[at - 1] ?? 0];
    }
  }
  return order;
}

const flat = (table: [number, boolean][][]) => table.flat();
const tensors = (table: [number, boolean][][], dtype: "f32" | "f64" = "f32") => {
  const shape: Shape = [table.length, table[0]?.length ?? 0];
  return {
    x: backend.tensor(
      flat(table).map(([value]) => value),
      { shape, dtype },
    ),
    mask: backend.tensor(
      flat(table).map(([, keep]) => Number(keep)),
      { shape, dtype: "bool" },
    ),
  };
};

describe("topK", () => {
  it("is the beginning of the descending order", async () => {
    await fc.assert(
      fc.asyncProperty(rows, fc.boolean(), fc.nat(), async (table, masked, draw) => {
        const size = table[0]?.length ?? 0;
        const k = draw % (size + 1);
        const { x, mask } = tensors(table);
        const [values, indices] = topK(x, masked ? mask : undefined, { k });
        expect([values.shape, indices.shape]).toEqual([
          [table.length, k],
          [table.length, k],
        ]);
        const expected = table.map((row) => naiveOrder(row, masked, true).slice(0, k));
        expect(await valuesOf(indices)).toEqual(expected.flat());
        expect(await valuesOf(values)).toEqual(
          table.flatMap((row, at) => (expected[at] ?? []).map((index) => row[index]?.[0])),
        );
      }),
      { numRuns: 400 },
    );
  });

  it("breaks ties by the lower index, puts NaN behind numbers and masked ones last", async () => {
    const x = backend.tensor([1, NaN, 3, 3, -Infinity, 9, 3], { dtype: "f64" });
    const mask = backend.tensor([true, true, true, true, true, false, true]);
    const [values, indices] = topK(x, mask, { k: 7 });
    expect(await valuesOf(indices)).toEqual([2, 3, 6, 0, 4, 1, 5]);
    expect(await valuesOf(values)).toEqual([3, 3, 3, 1, -Infinity, NaN, 9]);
  });

  it("takes the lowest indices of a row of equals, and of a row that is all masked", async () => {
    const x = backend.tensor(new Float32Array(64).fill(0.25), { shape: [2, 32] });
    const mask = backend.tensor(new Array<boolean>(64).fill(false), { shape: [2, 32] });
    const lowest = [0, 1, 2, 3, 0, 1, 2, 3];
    expect(await valuesOf(topK(x, undefined, { k: 4 })[1])).toEqual(lowest);
    expect(await valuesOf(topK(x, mask, { k: 4 })[1])).toEqual(lowest);
  });

  it("works without rows", async () => {
    const [values, indices] = topK(backend.tensor([], { shape: [0, 4], dtype: "f32" }), undefined, {
      k: 2,
    });
    expect([values.shape, indices.shape]).toEqual([
      [0, 2],
      [0, 2],
    ]);
  });
});

describe("argsort", () => {
  it("is stable in both directions", async () => {
    await fc.assert(
      fc.asyncProperty(rows, fc.boolean(), fc.boolean(), async (table, masked, descending) => {
        const { x, mask } = tensors(table, "f64");
        const order = argsort(x, masked ? mask : undefined, { descending });
        expect(await valuesOf(order)).toEqual(
          table.flatMap((row) => naiveOrder(row, masked, descending)),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("sorts integers", async () => {
    const signed = backend.tensor([3, -1, 2, -1], { dtype: "i32" });
    expect(await valuesOf(argsort(signed))).toEqual([1, 3, 2, 0]);
    const words = backend.tensor([3, 2 ** 32 - 1, 0], { dtype: "u32" });
    expect(await valuesOf(argsort(words, undefined, { descending: true }))).toEqual([1, 0, 2]);
  });
});

describe("groupRows", () => {
  it("is a stable sort by id, with what follows from it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: -2, max: 8 }), { maxLength: 40 }),
        fc.integer({ min: 0, max: 7 }),
        async (ids, groups) => {
          const [order, inverse, offsets, group] = groupRows(
            backend.tensor(ids, { dtype: "i32" }),
            { groups },
          );
          const total = ids.length;
          const expected = Array.from({ length: groups }, (_, id) =>
            ids.flatMap((value, assignment) => (value === id ? [assignment] : [])),
          );
          const sorted = expected.flat();
          const rest = new Array<number>(total - sorted.length).fill(total);
          expect(await valuesOf(order)).toEqual([...sorted, ...rest]);
          expect(await valuesOf(group)).toEqual([
            ...sorted.map((assignment) => ids[assignment]),
            ...rest.map(() => groups),
          ]);
          expect(await valuesOf(inverse)).toEqual(
            ids.map((_, assignment) =>
              sorted.includes(assignment) ? sorted.indexOf(assignment) : total,
            ),
          );
          let start = 0;
          const starts = [0, ...expected.map((members) => (start += members.length))];
          expect(await valuesOf(offsets)).toEqual(starts);
        },
      ),
      { numRuns: 200 },
    );
  });
});
