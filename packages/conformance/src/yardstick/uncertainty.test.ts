import * as m from "@moiety/core";
import { type Backend, type Tensor } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Yardstick, type YardstickOptions, createYardstick } from "./index.ts";

const DEFAULT: YardstickOptions = { accumulation: "f32", storage: "f32" };
let yardstick: Yardstick = createYardstick(DEFAULT);
let backend: Backend = yardstick.backend;

function use(options: YardstickOptions): void {
  yardstick = createYardstick(options);
  backend = yardstick.backend;
}

beforeEach(() => use(DEFAULT));
afterEach(() => backend.dispose());

const floats = (...values: number[]): Tensor => backend.tensor(Float64Array.from(values));
const integers = (...values: number[]): Tensor => backend.tensor(Int32Array.from(values));
const boundsOf = async (tensor: Tensor): Promise<number[]> => [
  ...(await yardstick.boundsOf(tensor)),
];
const valuesOf = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

/** The values, each ± a bound of a millionth or two. */
const inexact = (...values: number[]): Tensor =>
  m.add(m.log(m.exp(floats(...values.map((value) => value - 1)))), 1);

const U = 2 ** -24;

describe("what is exact", () => {
  it("uploads of what an f32 holds, and their layouts", async () => {
    const x = floats(1.5, -2, 0, 3).reshape([2, 2]);
    const moved = m.concat(m.transpose(x, { permutation: [1, 0] }), x, { axis: 0 });
    expect(await boundsOf(moved)).toEqual(new Array(8).fill(0));
  });

  it("not uploads and scalars of what it does not hold", async () => {
    const error = Math.abs(0.1 - Math.fround(0.1));
    expect(await boundsOf(floats(0.1))).toEqual([error]);
    expect(await boundsOf(m.full(backend, [1], 0.1, "f64"))).toEqual([error]);
    expect((await boundsOf(m.mul(floats(2), 0.1)))[0]).toBeGreaterThan(2 * error);
    use({ accumulation: "f64", storage: "f64" });
    expect(await boundsOf(floats(0.1))).toEqual([0]);
  });

  it("sums and products of few digits, in any order", async () => {
    const [a, b] = [floats(0.5, -1.25, 8, 3), floats(2, 0.125, -7, 1)];
    const y = m.matmul(a.reshape([2, 2]), b.reshape([2, 2]));
    expect(await boundsOf(y)).toEqual([0, 0, 0, 0]);
    expect(await boundsOf(m.sum(m.add(m.mul(a, b), 3)))).toEqual([0]);
    expect(await boundsOf(m.cumsum(a, { axis: 0 }))).toEqual([0, 0, 0, 0]);
    // 2²⁴ + 1 does not fit.
    expect((await boundsOf(m.sum(floats(2 ** 24, 1))))[0]).toBeGreaterThan(0);
    expect((await boundsOf(m.add(floats(2 ** 24), 1)))[0]).toBeGreaterThan(0);
  });

  it("zeros of masks and of rows outside a window", async () => {
    const mask = backend.tensor([true, false, false, false], { shape: [2, 2] });
    const y = m.softmax(inexact(1, 2, 3, 4).reshape([2, 2]), mask);
    expect((await boundsOf(y)).slice(1)).toEqual([0, 0, 0]);
    const rows = inexact(1, 2, 3).reshape([3, 1]);
    const window = m.groupedMatmul(rows, floats(1.5).reshape([1, 1, 1]), integers(1, 2));
    const [before, inside, behind] = await boundsOf(window);
    expect([before, behind]).toEqual([0, 0]);
    expect(inside).toBeGreaterThan(0);
  });

  it("not subnormals, which may be taken for zero", async () => {
    expect(await boundsOf(m.mul(floats(1e-40), 1e30))).toEqual([expect.closeTo(1e-10, 14)]);
    expect((await boundsOf(m.mul(floats(1e-20), floats(1e-20))))[0]).toBeGreaterThanOrEqual(1e-40);
    expect(await boundsOf(m.greater(floats(1e-40), 0))).toEqual([1]);
  });
});

describe("bounds of floats", () => {
  it("grow with the accumulator's unit and the root of the length", async () => {
    const bound = async (n: number, accumulation: "f16" | "f32" | "f64"): Promise<number> => {
      use({ accumulation, storage: "f32" });
      const x = floats(...Array.from({ length: n }, (_, at) => Math.fround(Math.cos(at))));
      const magnitude = (await valuesOf(m.sum(m.mul(m.abs(x), 1 / n))))[0] ?? 0;
      return ((await boundsOf(m.sum(m.mul(x, 1))))[0] ?? 0) / magnitude / n;
    };
    expect(await bound(400, "f32")).toBeCloseTo(40 * U, 6);
    expect((await bound(400, "f16")) / (await bound(400, "f32"))).toBeGreaterThan(2 ** 12);
    expect((await bound(400, "f32")) / (await bound(400, "f64"))).toBeGreaterThan(10);
  });

  it("of functions follow their slope", async () => {
    const [x] = await boundsOf(inexact(3));
    const of = async (f: (x: Tensor) => Tensor): Promise<number> =>
      ((await boundsOf(f(inexact(3))))[0] ?? 0) / (x ?? 1);
    expect(await of((t) => m.mul(t, 4))).toBeGreaterThan(4);
    expect(await of((t) => m.mul(t, 4))).toBeLessThan(6);
    expect(await of(m.exp)).toBeGreaterThan(Math.exp(3));
    expect(await of(m.tanh)).toBeLessThan(2);
    expect(await of((t) => m.div(t, 0.01))).toBeGreaterThan(100);
  });

  it("are infinite where anything may come out", async () => {
    for (const y of [
      m.reciprocal(m.sub(inexact(1), 1)),
      m.log(m.sub(inexact(1), 1)),
      m.rsqrt(m.sub(inexact(1), 1)),
      m.div(floats(1), m.sub(inexact(1), 1)),
      m.exp(floats(100)),
      m.sin(floats(1000)),
      m.mul(floats(1e30), 1e30),
    ]) {
      expect(await boundsOf(y)).toEqual([Infinity]);
    }
  });

  it("of what is not finite are 0: the class must be the same", async () => {
    const x = floats(Number.NaN, 1, 1, 1).reshape([2, 2]);
    const y = m.matmul(x, floats(1, 2, 3, 4).reshape([2, 2]));
    expect((await valuesOf(y)).map(Number.isNaN)).toEqual([true, true, false, false]);
    expect((await boundsOf(y)).slice(0, 2)).toEqual([0, 0]);
    expect(await boundsOf(m.exp(floats(1000)))).toEqual([0]);
  });

  it("of a maximum are those of the elements that may be it", async () => {
    const x = m.concat(inexact(5), floats(1, 4), { axis: 0 });
    const [own = 0] = await boundsOf(inexact(5));
    expect(await boundsOf(m.max(x))).toEqual([own]);
    expect(await boundsOf(m.maximum(inexact(1), 4))).toEqual([0]);
    expect(await boundsOf(m.maximum(inexact(5), 4))).toEqual([own]);
    expect((await boundsOf(m.maximum(inexact(5), 5)))[0]).toBeGreaterThan(own);
  });

  it("of a choice are those of the chosen, unless the condition is uncertain", async () => {
    const x = inexact(1, 2);
    const [own = 0] = await boundsOf(m.slice(x, { starts: [0], sizes: [1] }));
    const y = m.select(m.lessEqual(x, 1.5), x, 7);
    expect(await boundsOf(y)).toEqual([own, 0]);
    const uncertain = await boundsOf(m.select(m.lessEqual(x, 1), x, 7));
    expect(uncertain[0]).toBeCloseTo(6, 4);
    expect(uncertain[1]).toBe(0);
    // A NaN that is not chosen does no harm, unless it may be.
    const nan = floats(Number.NaN, Number.NaN);
    expect(await boundsOf(m.select(m.lessEqual(x, 1), x, nan))).toEqual([Infinity, 0]);
  });

  it("let 16-bit floats be either neighbour, and bfloat16 only the nearest", async () => {
    const x = floats(1, 1 + 2 ** -12, 65_510, 1e6, 2 ** -20);
    expect(await boundsOf(m.cast(x, { dtype: "f16" }))).toEqual([
      0,
      2 ** -10,
      Infinity,
      0,
      2 ** -20,
    ]);
    expect(await boundsOf(m.cast(x, { dtype: "bf16" }))).toEqual([0, 0, 0, 0, 0]);
    const [moved] = await boundsOf(m.cast(inexact(1), { dtype: "bf16" }));
    expect(moved).toBeGreaterThan(2 ** -8);
  });

  it("of f32 tensors hold what the yardstick rounds away itself", async () => {
    const [bound = 0] = await boundsOf(m.cast(m.mul(floats(1.5), 1 / 3), { dtype: "f32" }));
    expect(bound).toBeGreaterThan(2 * U * 0.5);
    expect(bound).toBeLessThan(8 * U * 0.5);
  });

  it("of normal numbers are the tolerance of the op, and of uniform ones 0", async () => {
    const attributes = { key: [1, 2], shape: [3], dtype: "f64" } as const;
    const y = m.normal(backend, attributes);
    const wanted = (await valuesOf(y)).map((value) => 2e-6 * (1 + Math.abs(value)));
    expect(await boundsOf(y)).toEqual(wanted);
    expect(await boundsOf(m.uniform(backend, attributes))).toEqual([0, 0, 0]);
  });

  it("know the numbers that mean the same in f32 and in f64", async () => {
    expect(await boundsOf(m.full(backend, [1], -Number.MAX_VALUE, "f64"))).toEqual([0]);
    const epsilon = m.full(backend, [1], 2 ** -52, "f64");
    expect(await boundsOf(epsilon)).toEqual([2 ** -23 - 2 ** -52]);
  });
});

describe("choices", () => {
  it("comparisons are uncertain where the bounds meet, and exact where both are", async () => {
    expect(await boundsOf(m.less(inexact(1, 2), 1))).toEqual([1, 0]);
    expect(await boundsOf(m.equal(floats(1, 2), 1))).toEqual([0, 0]);
    expect(await boundsOf(m.equal(inexact(1), floats(1)))).toEqual([1]);
  });

  it("a maximum is equal to the element that it was taken from", async () => {
    const x = inexact(1, 3, 2);
    const hits = m.equal(x, m.max(x));
    expect(await valuesOf(hits)).toEqual([0, 1, 0]);
    expect(await boundsOf(hits)).toEqual([0, 0, 0]);
    // But not certainly where another may be the larger one.
    const near = m.concat(inexact(3), floats(3), { axis: 0 });
    expect(await boundsOf(m.equal(near, m.max(near)))).toEqual([1, 1]);
    const gradient = m.valueAndGrad((t: Tensor) => m.sum(m.minimum(m.mul(t, 1.1), 2)));
    expect(await boundsOf(gradient(floats(1, 3)).grads as Tensor)).toEqual([
      expect.closeTo(0, 6),
      0,
    ]);
  });

  it("logic passes uncertainty on, unless the other side decides", async () => {
    const uncertain = m.less(inexact(1, 1, 1), 1);
    const sides = m.less(floats(0, 2, 0), 1);
    expect(await boundsOf(m.and(uncertain, sides))).toEqual([1, 0, 1]);
    expect(await boundsOf(m.or(uncertain, sides))).toEqual([0, 1, 0]);
    expect(await boundsOf(m.not(uncertain))).toEqual([1, 1, 1]);
    expect(await boundsOf(m.cast(uncertain, { dtype: "i32" }))).toEqual([1, 1, 1]);
  });

  it("steps are uncertain near a step", async () => {
    const x = inexact(2, 2.5);
    expect(await boundsOf(m.floor(x))).toEqual([1, 0]);
    expect(await boundsOf(m.ceil(x))).toEqual([1, 0]);
    expect(await boundsOf(m.round(x))).toEqual([0, 1]);
    expect(await boundsOf(m.cast(x, { dtype: "i32" }))).toEqual([1, 0]);
    expect(await boundsOf(m.sign(m.sub(x, 2)))).toEqual([1, 0]);
    expect(await boundsOf(m.cast(m.sub(x, 2), { dtype: "bool" }))).toEqual([1, 0]);
  });

  it("topK: exact ties are certain, and places whose neighbour is too near are not", async () => {
    const exact = m.topK(floats(1, 2, 2, 1), undefined, { k: 3 });
    expect(await valuesOf(exact[1])).toEqual([1, 2, 0]);
    expect(await boundsOf(exact[1])).toEqual([0, 0, 0]);
    const scores = inexact(5, 3, 3, 1, 0.5);
    const [values, indices] = m.topK(scores, undefined, { k: 4 });
    expect(await valuesOf(indices)).toEqual([0, 1, 2, 3]);
    expect(await boundsOf(indices)).toEqual([0, Infinity, Infinity, 0]);
    const bounds = await boundsOf(values);
    expect(bounds.every((bound) => bound > 0 && bound < 1e-5)).toBe(true);
    // The cut itself: the last chosen, and the first that is not.
    expect(await boundsOf(m.topK(scores, undefined, { k: 2 })[1])).toEqual([0, Infinity]);
  });

  it("topK: one wide bound reaches over several places", async () => {
    const wide = m.mul(m.sub(inexact(1), 1), 2e6);
    const scores = m.concat(floats(9, 1, 0.5, -9), wide, { axis: 0 });
    const [, indices] = m.topK(scores, undefined, { k: 5 });
    const bounds = await boundsOf(indices);
    expect(bounds[0]).toBe(0);
    expect(bounds.slice(1, 4)).toEqual([Infinity, Infinity, Infinity]);
    expect(bounds[4]).toBe(0);
  });

  it("topK and argsort: an uncertain mask makes a row uncertain, a certain one none", async () => {
    const scores = floats(3, 2, 1);
    const mask = m.less(inexact(1, 0, 0), 1);
    expect(await boundsOf(m.topK(scores, mask, { k: 1 })[1])).toEqual([Infinity]);
    const certain = backend.tensor([false, true, true]);
    expect(await boundsOf(m.argsort(inexact(2, 2, 1), certain, {}))).toEqual([0, 0, 0]);
    expect(await boundsOf(m.argsort(inexact(2, 2, 1), undefined, {}))).toEqual([
      0,
      Infinity,
      Infinity,
    ]);
  });

  it("what is read or written through an uncertain index may be anything", async () => {
    const [, indices] = m.topK(inexact(3, 3, 1), undefined, { k: 3 });
    const table = floats(1, 2, 3);
    expect(await boundsOf(m.gatherRows(table, indices))).toEqual([Infinity, Infinity, 0]);
    expect(await boundsOf(m.takeAlong(table, indices, { axis: 0 }))).toEqual([
      Infinity,
      Infinity,
      0,
    ]);
    const put = m.putAlong(m.zerosLike(table), indices, table, { axis: 0 });
    expect(await boundsOf(put)).toEqual([Infinity, Infinity, Infinity]);
    const [order, , offsets] = m.groupRows(indices, { groups: 3 });
    expect(await boundsOf(order)).toEqual([Infinity, Infinity, Infinity]);
    expect(await boundsOf(offsets)).toEqual([0, Infinity, Infinity, Infinity]);
    const rows = table.reshape([3, 1]);
    expect(await boundsOf(m.segmentSum(rows, indices, { segments: 1 }))).toEqual([Infinity]);
    const weights = floats(1, 1, 1).reshape([3, 1, 1]);
    const grouped = m.groupedMatmul(rows, weights, integers(0, 1, 2, 3), indices);
    expect(await boundsOf(grouped)).toEqual([Infinity, Infinity, 0]);
    const misplaced = m.groupedMatmul(rows, weights, offsets);
    expect(await boundsOf(misplaced)).toEqual([Infinity, Infinity, Infinity]);
  });

  it("whole numbers carry what they may differ by", async () => {
    const x = m.cast(inexact(2, 2.5), { dtype: "i32" });
    expect(await boundsOf(m.mul(m.add(x, 3), 2))).toEqual([2, 0]);
    expect(await boundsOf(m.div(x, 2))).toEqual([1, 0]);
    expect(await boundsOf(m.rem(x, 2))).toEqual([Infinity, 0]);
    expect(await boundsOf(m.less(x, 10))).toEqual([0, 0]);
    expect(await boundsOf(m.less(x, 2))).toEqual([1, 0]);
    // What may wrap may be anything.
    expect(await boundsOf(m.add(x, 2 ** 31 - 3))).toEqual([Infinity, 0]);
  });
});

describe("boundsOf", () => {
  it("leaves nothing behind, and takes traced and reshaped tensors", async () => {
    const x = inexact(1, 2).reshape([2, 1]);
    const before = backend.statistics();
    expect(await boundsOf(x)).toHaveLength(2);
    expect(backend.statistics()).toMatchObject({
      liveTensors: before.liveTensors,
      liveBuffers: before.liveBuffers,
      liveBytes: before.liveBytes,
    });
  });

  it("keeps bits: what is uploaded in pieces comes back", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      const codes = Uint16Array.from({ length: 2 ** 16 }, (_, code) => code);
      const upload = backend.upload({ shape: [codes.length], dtype });
      const bytes = new Uint8Array(codes.buffer);
      upload.write(0, bytes.subarray(0, 1002));
      upload.write(1002, bytes.subarray(1002));
      const tensor = upload.finish();
      const found = await valuesOf(tensor);
      // NaN has many patterns; one comes back.
      const isNaN = await valuesOf(m.isNaN(m.cast(tensor, { dtype: "f64" })));
      expect(found.filter((value, code) => !isNaN[code] && value !== code)).toEqual([]);
      expect(isNaN.filter(Boolean).length).toBe(dtype === "f16" ? 2046 : 254);
      tensor.dispose();
    }
  });
});
