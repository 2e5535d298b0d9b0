import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { DTypeError, ShapeError } from "../errors.ts";
import { valueAndGrad } from "../gradient.ts";
import { hostNormal, randomKey } from "../random.ts";
import type { Shape } from "../shape.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { mul, roundBlocks, sum, zeros } from "./index.ts";

const backend = await create();
const BLOCK = 32;

/** Rows of whole blocks: the values given, then zeros. */
const blocks = (...given: readonly (readonly number[])[]): Tensor =>
  backend.tensor(
    given.flatMap((values) => [...values, ...new Array<number>(BLOCK - values.length).fill(0)]),
    { shape: [given.length, BLOCK], dtype: "f32" },
  );
const rounded = async (...given: readonly (readonly number[])[]): Promise<number[][]> => {
  const values = [...(await roundBlocks(blocks(...given)).read())];
  return given.map((one, row) => values.slice(row * BLOCK, row * BLOCK + one.length));
};
const normal = (seed: number, shape: Shape): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });

/** The op by its sentence, one block after another. */
function byHand(values: ArrayLike<number>): number[] {
  const all = Array.from(values);
  return all.map((value, place) => {
    const start = place - (place % BLOCK);
    const step = Math.max(...all.slice(start, start + BLOCK).map(Math.abs)) / 127;
    if (step === 0) return value;
    const below = Math.floor(value / step);
    const rest = value / step - below;
    const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
    return (below + (up ? 1 : 0)) * step;
  });
}

describe("roundBlocks", () => {
  it("rounds to whole steps, the largest magnitude being 127 of them", async () => {
    expect(await rounded([127, 63.4, 63.6, -0.6, -0.4, 1])).toEqual([[127, 63, 64, -1, -0, 1]]);
    expect(await rounded([-254, 3, 4.9, 100])).toEqual([[-254, 4, 4, 100]]);
    expect(await rounded([127 / 1024, 1 / 4096])).toEqual([[127 / 1024, 0]]);
  });

  it("rounds halves to even", async () => {
    const halves = [0.5, 1.5, 2.5, 3.5, 125.5, 126.5, -0.5, -1.5, -2.5, -126.5];
    expect(await rounded([127, ...halves])).toEqual([
      [127, 0, 2, 2, 4, 126, 126, -0, -2, -2, -126],
    ]);
  });

  it("gives each block its own step, and leaves a block of zeros as it is", async () => {
    expect(await rounded([127, 0.6], [1.27, 0.6], [0, -0], [-1e-30, 1e-30])).toEqual([
      [127, 1],
      [Math.fround(1.27), expect.closeTo(0.6, 6)],
      [0, -0],
      [Math.fround(-1e-30), Math.fround(1e-30)],
    ]);
  });

  it.each([[[32]], [[7, 96]], [[2, 3, 64]]])(
    "rounds rows of shape %j by its sentence",
    async (shape) => {
      const x = normal(sizeOf(shape), shape);
      const y = roundBlocks(x);
      expect(y.shape).toEqual(shape);
      const wanted = byHand(await x.read());
      for (const [place, value] of (await y.read()).entries()) {
        expect(value).toBeCloseTo(wanted[place] ?? Number.NaN, 14);
      }
    },
  );

  it.each([[[0, 32]], [[3, 0]], [[0]]])(
    "has nothing to do where shape %j holds nothing",
    (shape) => {
      expect(roundBlocks(zeros(backend, shape)).shape).toEqual(shape);
    },
  );

  it("keeps NaN in its place, and has none to spare for other blocks", async () => {
    const [first, second, third] = await rounded([127, Number.NaN, 3.2], [127, 3.2], [Infinity, 1]);
    expect(first).toEqual([127, Number.NaN, 3]);
    expect(second).toEqual([127, 3]);
    expect(third?.every(Number.isNaN)).toBe(true);
    expect(await rounded([Number.NaN])).toEqual([[Number.NaN]]);
  });

  it("has the gradient of x, as if nothing were rounded", async () => {
    const upstream = normal(2, [2, 64]);
    const loss = (x: Tensor): Tensor => sum(mul(roundBlocks(x), upstream));
    const { grads } = valueAndGrad(loss)(normal(1, [2, 64]));
    expect(await (grads as Tensor).read()).toEqual(await upstream.read());
  });

  it("refuses rows that end within a block, scalars and integers", () => {
    expect(() => roundBlocks(zeros(backend, [2, 33]))).toThrow(ShapeError);
    expect(() => roundBlocks(zeros(backend, [64, 31]))).toThrow(/within a block of 32/);
    expect(() => roundBlocks(zeros(backend, []))).toThrow(ShapeError);
    expect(() => roundBlocks(zeros(backend, [32], "i32"))).toThrow(DTypeError);
    expect(() => roundBlocks(zeros(backend, [32], "f16"))).toThrow(DTypeError);
  });
});
