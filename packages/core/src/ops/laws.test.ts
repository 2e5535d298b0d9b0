import { create } from "@moiety/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostBits, hostNormal, hostUniform, randomKey } from "../random.ts";
import { type Shape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import * as ops from "./index.ts";

const backend = await create();

/** Tries what must hold on drawn values. */
async function law<T>(values: fc.Arbitrary<T>, holds: (value: T) => Promise<void>): Promise<void> {
  await fc.assert(fc.asyncProperty(values, holds), { seed: 7, numRuns: 40 });
}

const size = fc.integer({ min: 0, max: 4 });
const shapes = fc.array(size, { minLength: 1, maxLength: 3 });
const i32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const seeds = fc.integer({ min: 0, max: 1000 });
/** Few values, so that there are ties. */
const coarse = fc.constantFrom(-1, 0, 0.5, 2, Number.NaN);

const random = (seed: number, shape: Shape): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
const ints = (values: readonly number[], shape: Shape = [values.length]): Tensor =>
  backend.tensor(values, { shape, dtype: "i32" });
const read = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

describe("elementwise laws", () => {
  it("integers wrap, so that a + b − b is a", () =>
    law(fc.array(fc.tuple(i32, i32)), async (pairs) => {
      const [a, b] = [ints(pairs.map(([x]) => x)), ints(pairs.map(([, y]) => y))];
      expect(await read(ops.sub(ops.add(a, b), b))).toEqual(await read(a));
      expect(await read(ops.mul(a, b))).toEqual(pairs.map(([x, y]) => Math.imul(x, y)));
    }));

  it("a = div · b + rem", () =>
    law(fc.array(fc.tuple(i32, i32), { minLength: 1 }), async (pairs) => {
      const [a, b] = [ints(pairs.map(([x]) => x)), ints(pairs.map(([, y]) => y || 1))];
      const back = ops.add(ops.mul(ops.div(a, b), b), ops.rem(a, b));
      expect(await read(back)).toEqual(await read(a));
    }));

  it("max and min keep the pair, and NaN only from two", () =>
    law(fc.tuple(coarse, coarse), async ([x, y]) => {
      const [a, b] = [backend.tensor(Float64Array.of(x)), backend.tensor(Float64Array.of(y))];
      const [high, low] = [await ops.maximum(a, b).item(), await ops.minimum(a, b).item()];
      const numbers = [x, y].filter((value) => !Number.isNaN(value));
      expect(high).toBe(numbers.length > 0 ? Math.max(...numbers) : Number.NaN);
      expect(low).toBe(numbers.length > 0 ? Math.min(...numbers) : Number.NaN);
    }));

  it("where with the opposite condition swaps its sides", () =>
    law(seeds, async (seed) => {
      const [a, b] = [random(seed, [6]), random(seed + 1, [6])];
      const condition = ops.less(a, b);
      const one = ops.select(condition, a, b);
      expect(await read(one)).toEqual(await read(ops.minimum(a, b)));
      expect(await read(one)).toEqual(await read(ops.select(ops.not(condition), b, a)));
    }));

  it("compare and its negation are opposites", () =>
    law(fc.array(fc.tuple(i32, i32)), async (pairs) => {
      const [a, b] = [ints(pairs.map(([x]) => x)), ints(pairs.map(([, y]) => y))];
      expect(await read(ops.less(a, b))).toEqual(await read(ops.not(ops.greaterEqual(a, b))));
      expect(await read(ops.greater(a, b))).toEqual(await read(ops.not(ops.lessEqual(a, b))));
      expect(await read(ops.equal(a, b))).toEqual(await read(ops.not(ops.notEqual(a, b))));
    }));
});

describe("layout laws", () => {
  it("transposing there and back", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const x = random(seed, shape);
      const there = ops.moveAxis(x, 0, -1);
      expect(await read(ops.moveAxis(there, -1, 0))).toEqual(await read(x));
    }));

  it("concat undoes split", () =>
    law(fc.tuple(seeds, shapes, size), async ([seed, shape, cut]) => {
      const x = random(seed, shape);
      const length = shape.at(-1) ?? 0;
      const first = Math.min(cut, length);
      const pieces = ops.split(x, [first, length - first], -1);
      expect(await read(ops.concat(...pieces, { axis: shape.length - 1 }))).toEqual(await read(x));
    }));

  it("slice undoes pad", () =>
    law(fc.tuple(seeds, shapes, size, size), async ([seed, shape, left, right]) => {
      const x = random(seed, shape);
      const before = shape.map((_, axis) => (axis === 0 ? left : 1));
      const padded = ops.pad(x, { before, after: shape.map(() => right), value: 9 });
      expect(await read(ops.slice(padded, { starts: before, sizes: shape }))).toEqual(
        await read(x),
      );
      const added = padded.size - x.size;
      const nines = (await read(padded)).filter((value) => value === 9);
      expect(nines).toHaveLength(added);
    }));

  it("slice reads what writeSlice wrote", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const target = random(
        seed,
        shape.map((length) => length + 2),
      );
      const update = random(seed + 1, shape);
      const starts = shape.map(() => 1);
      const written = ops.writeSlice(target, update, { starts });
      const sizes = shape;
      expect(await read(ops.slice(written, { starts, sizes }))).toEqual(await read(update));
      const restored = ops.writeSlice(written, ops.slice(target, { starts, sizes }), { starts });
      expect(await read(restored)).toEqual(await read(target));
    }));

  it("stack and reduce", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const x = random(seed, shape);
      expect(await read(ops.max(ops.stack([x, x, x]), [0]))).toEqual(await read(x));
      expect(await read(ops.sum(ops.stack([x, x], -1), [-1]))).toEqual(await read(ops.mul(x, 2)));
    }));
});

describe("sum laws", () => {
  it("cumsum is its exclusive form plus x", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const x = ops.cast(ops.mul(random(seed, shape), 100), { dtype: "i32" });
      for (const axis of shape.keys()) {
        for (const reverse of [false, true]) {
          const exclusive = ops.cumsum(x, { axis, exclusive: true, reverse });
          const inclusive = ops.cumsum(x, { axis, reverse });
          expect(await read(ops.add(exclusive, x))).toEqual(await read(inclusive));
        }
      }
    }));

  it("(A·B)ᵀ = Bᵀ·Aᵀ", () =>
    law(fc.tuple(seeds, size, size, size), async ([seed, m, k, n]) => {
      const [a, b] = [random(seed, [2, m, k]), random(seed + 1, [k, n])];
      const left = ops.moveAxis(ops.matmul(a, b), 1, 2);
      const right = ops.matmul(b, a, { transposeA: true, transposeB: true });
      expect(right.shape).toEqual([2, n, m]);
      expect(await read(right)).toEqual(await read(left));
    }));

  it("softmax sums to one and forgets a shift", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const x = random(seed, [...shape, 3]);
      for (const total of await read(ops.sum(ops.softmax(x), [-1])))
        expect(total).toBeCloseTo(1, 14);
      const shifted = await read(ops.softmax(ops.add(x, 50)));
      for (const [index, value] of (await read(ops.softmax(x))).entries()) {
        expect(shifted[index]).toBeCloseTo(value, 12);
      }
      const logarithms = await read(ops.log(ops.sum(ops.exp(x), [-1])));
      for (const [index, value] of (await read(ops.logSumExp(x))).entries()) {
        expect(value).toBeCloseTo(logarithms[index] ?? 0, 12);
      }
    }));
});

const grouping = fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 12 });

describe("grouping laws", () => {
  it("groupRows sorts stably and counts", () =>
    law(grouping, async (ids) => {
      const groups = 4;
      const [order, inverse, offsets, group] = await Promise.all(
        ops.groupRows(ints(ids), { groups }).map(read),
      );
      const inside = (id: number): boolean => id >= 0 && id < groups;
      const wanted = [...ids.keys()]
        .filter((assignment) => inside(ids[assignment] ?? -1))
        .sort((a, b) => (ids[a] ?? 0) - (ids[b] ?? 0) || a - b);
      const rest = ids.length - wanted.length;
      expect(order).toEqual([...wanted, ...new Array<number>(rest).fill(ids.length)]);
      expect(group).toEqual([
        ...wanted.map((assignment) => ids[assignment]),
        ...new Array<number>(rest).fill(groups),
      ]);
      expect(inverse).toEqual(
        ids.map((id, assignment) => (inside(id) ? wanted.indexOf(assignment) : ids.length)),
      );
      const below = (limit: number): number => ids.filter((id) => inside(id) && id < limit).length;
      expect(offsets).toEqual([0, 1, 2, 3, 4].map(below));
    }));

  it("scatterRows adds every row once", () =>
    law(fc.tuple(seeds, grouping), async ([seed, ids]) => {
      const rows = ops.floor(ops.mul(random(seed, [ids.length, 2]), 10));
      const sums = new Array<number>(8).fill(0);
      const values = await read(rows);
      for (const [row, id] of ids.entries()) {
        if (id < 0 || id >= 4) continue;
        for (const column of [0, 1]) {
          sums[id * 2 + column] = (sums[id * 2 + column] ?? 0) + (values[row * 2 + column] ?? 0);
        }
      }
      expect(await read(ops.scatterRows(rows, ints(ids), 4))).toEqual(sums);
    }));

  it("groupedMatmul is one matmul for each group", () =>
    law(fc.tuple(seeds, grouping), async ([seed, ids]) => {
      const [order, , offsets, group] = ops.groupRows(ints(ids), { groups: 4 });
      const [x, weights] = [random(seed, [ids.length, 3]), random(seed + 1, [4, 2, 3])];
      const found = await read(ops.groupedMatmul(x, weights, offsets, order));
      const rows = ops.gatherRows(x, order).reshape([ids.length, 1, 3]);
      const matrices = ops.gatherRows(weights, group);
      const wanted = await read(ops.matmul(rows, matrices, { transposeB: true }));
      expect(found).toEqual(wanted);
      const turned = ops.transpose(weights, { permutation: [0, 2, 1] });
      const other = ops.groupedMatmul(x, turned, offsets, order, { transposed: true });
      expect(await read(other)).toEqual(wanted);
    }));
});

describe("selection laws", () => {
  const rows = fc.array(coarse, { minLength: 1, maxLength: 9 });
  const maskedRows = fc.array(fc.tuple(coarse, fc.boolean()), { minLength: 1, maxLength: 9 });

  it("topK of everything is a descending argsort", () =>
    law(maskedRows, async (row) => {
      const x = backend.tensor(Float64Array.from(row, ([value]) => value));
      const mask = backend.tensor(row.map(([, open]) => open));
      const [values, indices] = ops.topK(x, mask, { k: row.length });
      const order = await read(ops.argsort(x, mask, { descending: true }));
      expect(await read(indices)).toEqual(order);
      expect(await read(values)).toEqual(order.map((index) => row[index]?.[0]));
      const rank = (index: number): number => {
        const [value = 0, open] = row[index] ?? [];
        return open ? (Number.isNaN(value) ? -1e9 : value) : -1e18;
      };
      const wanted = [...row.keys()].sort((a, b) => rank(b) - rank(a) || a - b);
      expect(order).toEqual(wanted);
    }));

  it("fewer are a prefix of more", () =>
    law(rows, async (row) => {
      const x = backend.tensor(Float64Array.from(row));
      const all = await read(ops.topK(x, undefined, { k: row.length })[1]);
      for (const k of row.keys()) {
        expect(await read(ops.topK(x, undefined, { k })[1])).toEqual(all.slice(0, k));
      }
      expect(await ops.argmax(x).item()).toBe(all[0]);
    }));

  it("replaying a choice gives the values back", () =>
    law(rows, async (row) => {
      const x = backend.tensor(Float64Array.from(row));
      const k = Math.ceil(row.length / 2);
      const [values, indices] = ops.topK(x, undefined, { k });
      const [again] = ops.topK.definition.replay?.([x], { k }, [indices]) ?? [];
      expect(again && (await read(again))).toEqual(await read(values));
    }));

  it("putAlong returns what takeAlong took", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const x = random(seed, shape);
      const axis = shape.length - 1;
      const order = ops.argsort(x);
      const taken = ops.takeAlong(x, order, { axis });
      expect(await read(ops.putAlong(ops.zerosLike(x), order, taken, { axis }))).toEqual(
        await read(x),
      );
    }));
});

describe("draw laws", () => {
  it("ops draw what the host draws", () =>
    law(fc.tuple(seeds, shapes), async ([seed, shape]) => {
      const key = randomKey(seed);
      const count = sizeOf(shape);
      expect(await read(ops.randomBits(backend, { key, shape }))).toEqual([
        ...hostBits(key, count),
      ]);
      for (const dtype of ["f32", "f64"] as const) {
        const drawn = await read(ops.uniform(backend, { key, shape, dtype }));
        expect(drawn).toEqual([...hostUniform(key, count)]);
      }
      const normal = await read(ops.normal(backend, { key, shape, dtype: "f64" }));
      for (const [index, value] of hostNormal(key, count).entries()) {
        expect(normal[index]).toBeCloseTo(value, 12);
      }
    }));
});
