import { type Backend, groupedMatmul, groupedMatmulGradWeights } from "@moiety/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

interface Case {
  readonly rows: number;
  readonly inner: number;
  readonly outer: number;
  readonly offsets: number[];
  readonly rowIndex: number[] | undefined;
  readonly assignments: number;
}

const i32 = (values: number[]) => backend.tensor(values, { dtype: "i32" });

/** Random sizes, groups (some empty), a window, and row indices of which some lie outside. */
const cases: fc.Arbitrary<Case> = fc
  .record({
    rows: fc.integer({ min: 0, max: 12 }),
    inner: fc.integer({ min: 0, max: 9 }),
    outer: fc.integer({ min: 0, max: 9 }),
    cuts: fc.array(fc.nat({ max: 14 }), { minLength: 1, maxLength: 6 }),
    index: fc.option(fc.array(fc.integer({ min: -1, max: 12 }), { maxLength: 14 }), {
      nil: undefined,
    }),
  })
  .map(({ rows, inner, outer, cuts, index }) => {
    const assignments = index?.length ?? rows;
    const offsets = cuts.map((cut) => Math.min(cut, assignments)).sort((a, b) => a - b);
    return { rows, inner, outer, offsets, rowIndex: index, assignments };
  });

/** Which row of x stands at a row, and in which group; `undefined` where nothing does. */
function standing({ rows, offsets, rowIndex }: Case, row: number) {
  const group = offsets.findIndex((start, g) => row >= start && row < (offsets[g + 1] ?? 0));
  const source = rowIndex ? (rowIndex[row] ?? -1) : row;
  return group < 0
    ? undefined
    : { group, source: source >= 0 && source < rows ? source : undefined };
}

function matrix(transposed: boolean, sizes: Case, group: number, out: number, k: number): number {
  const { inner, outer } = sizes;
  return group * outer * inner + (transposed ? k * outer + out : out * inner + k);
}

describe("groupedMatmul", () => {
  it.each([false, true])("is one product for each row (transposed: %j)", async (transposed) => {
    await fc.assert(
      fc.asyncProperty(cases, async (sizes) => {
        const { rows, inner, outer, offsets, rowIndex, assignments } = sizes;
        const groups = offsets.length - 1;
        const x = numbersOf(1, rows * inner);
        const w = numbersOf(2, groups * outer * inner);
        const expected: number[] = [];
        for (let row = 0; row < assignments; row++) {
          const at = standing(sizes, row);
          for (let out = 0; out < outer; out++) {
            let sum = 0;
            for (let k = 0; k < inner; k++) {
              if (at?.source === undefined) continue;
              sum +=
                (x[at.source * inner + k] ?? NaN) *
                (w[matrix(transposed, sizes, at.group, out, k)] ?? NaN);
            }
            expected.push(sum);
          }
        }
        const result = groupedMatmul(
          backend.tensor(x, { shape: [rows, inner], dtype: "f64" }),
          backend.tensor(w, {
            shape: transposed ? [groups, inner, outer] : [groups, outer, inner],
            dtype: "f64",
          }),
          i32(offsets),
          rowIndex && i32(rowIndex),
          { transposed },
        );
        expect(result.shape).toEqual([assignments, outer]);
        expect((await valuesOf(result)).map((value) => value + 0)).toEqual(
          expected.map((value) => value + 0),
        );
      }),
      { numRuns: 200 },
    );
  });

  it("zeroes rows outside the window in recycled memory", async () => {
    backend
      .tensor(
        numbersOf(9, 40 * 64).map((x) => x + 5),
        { shape: [40, 64] },
      )
      .dispose();
    const x = backend.tensor(numbersOf(1, 40 * 8), { shape: [40, 8] });
    const weights = backend.tensor(numbersOf(2, 2 * 64 * 8), { shape: [2, 64, 8] });
    const out = await valuesOf(groupedMatmul(x, weights, i32([3, 3, 10])));
    const live = out.map((value, index) => [Math.floor(index / 64), value] as const);
    expect(live.every(([row, value]) => (row >= 3 && row < 10) === (value !== 0))).toBe(true);
  });

  it("does not read rows outside the window", async () => {
    const x = backend.tensor([NaN, 1, 2, NaN], { shape: [4, 1] });
    const weights = backend.tensor([3, 4], { shape: [2, 1, 1] });
    expect(await valuesOf(groupedMatmul(x, weights, i32([1, 2, 3])))).toEqual([0, 3, 8, 0]);
    const dy = backend.tensor([NaN, 1, 1, NaN], { shape: [4, 1] });
    expect(await valuesOf(groupedMatmulGradWeights(x, dy, i32([1, 2, 3])))).toEqual([1, 2]);
  });

  it("gives a row the same bits in any group size", async () => {
    const inner = 37;
    const weights = backend.tensor(numbersOf(4, 2 * 10 * inner), { shape: [2, 10, inner] });
    const x = backend.tensor(numbersOf(5, 300 * inner), { shape: [300, inner] });
    const whole = await valuesOf(groupedMatmul(x, weights, i32([0, 0, 300])));
    for (const row of [0, 3, 255, 256, 299]) {
      const alone = groupedMatmul(x, weights, i32([0, 0, 1]), i32([row]));
      expect(await valuesOf(alone)).toEqual(whole.slice(row * 10, row * 10 + 10));
    }
  });
});

describe("groupedMatmulGradWeights", () => {
  it.each([false, true])(
    "adds outer products in row order (transposed: %j)",
    async (transposed) => {
      await fc.assert(
        fc.asyncProperty(cases, async (sizes) => {
          const { rows, inner, outer, offsets, rowIndex, assignments } = sizes;
          const groups = offsets.length - 1;
          const x = numbersOf(1, rows * inner);
          const dy = numbersOf(2, assignments * outer);
          const expected = new Array<number>(groups * outer * inner).fill(0);
          for (let row = 0; row < assignments; row++) {
            const at = standing(sizes, row);
            if (at?.source === undefined) continue;
            for (let out = 0; out < outer; out++) {
              for (let k = 0; k < inner; k++) {
                const place = matrix(transposed, sizes, at.group, out, k);
                expected[place] =
                  (expected[place] ?? 0) +
                  (dy[row * outer + out] ?? NaN) * (x[at.source * inner + k] ?? NaN);
              }
            }
          }
          const result = groupedMatmulGradWeights(
            backend.tensor(x, { shape: [rows, inner], dtype: "f64" }),
            backend.tensor(dy, { shape: [assignments, outer], dtype: "f64" }),
            i32(offsets),
            rowIndex && i32(rowIndex),
            { transposed },
          );
          expect(result.shape).toEqual(
            transposed ? [groups, inner, outer] : [groups, outer, inner],
          );
          expect(await valuesOf(result)).toEqual(expected);
        }),
        { numRuns: 200 },
      );
    },
  );

  it("adds nothing for an outside row, even where its gradient is NaN", async () => {
    const x = backend.tensor([1, 2], { shape: [2, 1] });
    const dy = backend.tensor([NaN, 10, 100], { shape: [3, 1] });
    const out = groupedMatmulGradWeights(x, dy, i32([0, 3]), i32([7, 0, 1]));
    expect(await valuesOf(out)).toEqual([210]);
  });

  it("covers several panels", async () => {
    const [rows, inner, outer] = [70, 130, 270];
    const x = numbersOf(1, rows * inner).map(Math.fround);
    const dy = numbersOf(2, rows * outer).map(Math.fround);
    const expected: number[] = [];
    for (let out = 0; out < outer; out++) {
      for (let k = 0; k < inner; k++) {
        let sum = 0;
        for (let row = 0; row < rows; row++)
          sum += (dy[row * outer + out] ?? NaN) * (x[row * inner + k] ?? NaN);
        expected.push(Math.fround(sum));
      }
    }
    const result = groupedMatmulGradWeights(
      backend.tensor(x, { shape: [rows, inner] }),
      backend.tensor(dy, { shape: [rows, outer] }),
      i32([0, rows]),
    );
    expect(await valuesOf(result)).toEqual(expected);
  });
});
