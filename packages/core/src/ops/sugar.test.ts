import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { valueAndGrad } from "../gradient.ts";
import type { Tensor } from "../tensor.ts";
import * as ops from "./index.ts";

const backend = await create();
const f64 = (...values: number[]): Tensor => backend.tensor(Float64Array.from(values));
const read = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

/** Gradient of the sum of what a function of one tensor gives. */
async function slope(f: (x: Tensor) => Tensor, ...values: number[]): Promise<number[] | null> {
  const { grads } = valueAndGrad((x: Tensor) => ops.sum(f(x)))(f64(...values));
  return grads && (await read(grads));
}

describe("functions of one tensor", () => {
  const erfOfOne = 0.8427007929497149;
  it.each([
    [ops.neg, 2, -2],
    [ops.abs, -3, 3],
    [ops.sign, -0.5, -1],
    [ops.exp, 1, Math.E],
    [ops.log, 5, Math.log(5)],
    [ops.log1p, 1e-10, 9.9999999995e-11],
    [ops.sqrt, 2, Math.SQRT2],
    [ops.rsqrt, 4, 0.5],
    [ops.reciprocal, 8, 0.125],
    [ops.tanh, 0.3, Math.tanh(0.3)],
    [ops.erf, 1, erfOfOne],
    [ops.sigmoid, 2, 1 / (1 + Math.exp(-2))],
    [ops.softplus, 2, Math.log(1 + Math.exp(2))],
    [ops.sin, 1, Math.sin(1)],
    [ops.cos, 1, Math.cos(1)],
    [ops.floor, -1.5, -2],
    [ops.ceil, -1.5, -1],
    [ops.round, 2.5, 2],
    [ops.square, -3, 9],
    [ops.relu, -3, 0],
    [ops.relu, 3, 3],
    [ops.reluSquared, 3, 9],
    [ops.silu, 2, 2 / (1 + Math.exp(-2))],
    [ops.gelu, 1, 0.8413447460685429],
    [ops.geluTanh, 1, 0.8411919906082768],
  ] as const)("%o at %d", async (f, x, wanted) => {
    expect(await f(f64(x)).item()).toBeCloseTo(wanted, 14);
  });

  it("give bool where they test", async () => {
    const x = f64(0, Number.NaN);
    expect(ops.isNaN(x).dtype).toBe("bool");
    expect(await read(ops.isNaN(x))).toEqual([0, 1]);
    expect(await read(ops.not(ops.isNaN(x)))).toEqual([1, 0]);
  });
});

describe("functions of two", () => {
  it.each([
    [ops.add, 5],
    [ops.sub, 1],
    [ops.mul, 6],
    [ops.div, 1.5],
    [ops.maximum, 3],
    [ops.minimum, 2],
    [ops.pow, 9],
    [ops.equal, 0],
    [ops.notEqual, 1],
    [ops.less, 0],
    [ops.lessEqual, 0],
    [ops.greater, 1],
    [ops.greaterEqual, 1],
  ] as const)("%o takes a tensor or a number", async (f, wanted) => {
    expect(await f(f64(3), f64(2)).item()).toBe(wanted);
    expect(await f(f64(3), 2).item()).toBe(wanted);
  });

  it("work on integers and booleans", async () => {
    const a = backend.tensor([7, -7, 5], { dtype: "i32" });
    expect(await read(ops.rem(a, 3))).toEqual([1, -1, 2]);
    expect(await read(ops.div(a, 2))).toEqual([3, -3, 2]);
    expect(await read(ops.div(a, 0))).toEqual([0, 0, 0]);
    const [yes, no] = [backend.tensor([true, true]), backend.tensor([false, true])];
    expect(await read(ops.and(yes, no))).toEqual([0, 1]);
    expect(await read(ops.or(yes, no))).toEqual([1, 1]);
  });
});

describe("makers", () => {
  it("fill, count and mark", async () => {
    expect(await read(ops.full(backend, [2], 7, "i32"))).toEqual([7, 7]);
    expect(await read(ops.onesLike(f64(3, 4)))).toEqual([1, 1]);
    expect(ops.ones(backend, [2, 0], "f64").shape).toEqual([2, 0]);
    expect(await read(ops.arange(backend, 4, "f32"))).toEqual([0, 1, 2, 3]);
    expect(await read(ops.iota(backend, { shape: [2, 2], axis: 0, dtype: "u32" }))).toEqual([
      0, 0, 1, 1,
    ]);
    const ids = backend.tensor([2, -1, 0, 3], { dtype: "i32" });
    expect(await read(ops.oneHot(ids, 3))).toEqual([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
  });

  it("widen only what is narrower", () => {
    const [narrow, wide] = [ops.zeros(backend, [1]), f64(1)];
    expect(ops.atLeast(narrow, "f32")).toBe(narrow);
    expect(ops.atLeast(wide, "f32")).toBe(wide);
    expect(ops.atLeast(narrow, "f64").dtype).toBe("f64");
    expect(ops.atLeast(ops.cast(narrow, { dtype: "f16" }), "f32").dtype).toBe("f32");
  });
});

describe("reductions", () => {
  const x = backend.tensor(Float64Array.of(1, 5, 3, 4, 2, 6), { shape: [2, 3] });

  it("count negative axes from the end, in any order", async () => {
    expect(await read(ops.sum(x, [-1]))).toEqual([9, 12]);
    expect(ops.sum(x, [-1, 0], true).shape).toEqual([1, 1]);
    expect(await read(ops.mean(x, [0]))).toEqual([2.5, 3.5, 4.5]);
    expect(await ops.mean(x).item()).toBe(3.5);
    expect(await read(ops.min(x, [1]))).toEqual([1, 2]);
  });

  it("have no mean of nothing", async () => {
    expect(await read(ops.mean(ops.zeros(backend, [2, 0]), [1]))).toEqual([Number.NaN, Number.NaN]);
  });

  it("find the largest along any axis", async () => {
    expect(await read(ops.argmax(x))).toEqual([1, 2]);
    expect(await read(ops.argmax(x, 0))).toEqual([1, 0, 1]);
  });
});

describe("gradients at kinks", () => {
  it("go to the first of equal operands", async () => {
    const { grads } = valueAndGrad((pair: Tensor[]) =>
      ops.sum(ops.maximum(pair[0] as Tensor, pair[1] as Tensor)),
    )([f64(2, 1), f64(2, 3)]);
    expect(await Promise.all(grads.map((gradient) => gradient && read(gradient)))).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });

  it("go to the first of equal extremes", async () => {
    expect(await slope((x) => ops.max(x), 1, 3, 3, 2)).toEqual([0, 1, 0, 0]);
    expect(await slope((x) => ops.min(x.reshape([2, 2]), [0]), 1, 3, 1, 2)).toEqual([1, 0, 0, 1]);
    expect(await slope((x) => ops.max(x.reshape([2, 2]), [0, 1]), 1, 3, 3, 3)).toEqual([
      0, 1, 0, 0,
    ]);
  });

  it("are 0 for abs and relu at 0", async () => {
    expect(await slope(ops.abs, 0, -2)).toEqual([0, -1]);
    expect(await slope(ops.relu, 0, 2, -2)).toEqual([0, 1, 0]);
  });

  it("are absent where a function is flat", async () => {
    expect(await slope((x) => ops.floor(x), 1.5)).toBeNull();
  });

  it("are finite for powers of 0", async () => {
    expect(await slope((x) => ops.pow(x, 0), 0, 2)).toEqual([0, 0]);
    expect(await slope((x) => ops.pow(x, 2), 0, -3)).toEqual([0, -6]);
    const { grads } = valueAndGrad((pair: Tensor[]) =>
      ops.sum(ops.pow(pair[0] as Tensor, pair[1] as Tensor)),
    )([f64(0, 0, 2), f64(0, 2, 0)]);
    expect(await Promise.all(grads.map((gradient) => gradient && read(gradient)))).toEqual([
      [0, 0, 0],
      [0, 0, Math.LN2],
    ]);
  });
});

describe("other gradients", () => {
  it("keep NaN in relu", async () => {
    expect(await read(ops.relu(f64(Number.NaN, -1)))).toEqual([Number.NaN, 0]);
  });

  it("pass through a cast in the dtype of its input", async () => {
    const x = backend.tensor(new Float32Array([1, 2]));
    const { grads } = valueAndGrad((given: Tensor) =>
      ops.sum(ops.square(ops.cast(given, { dtype: "f64" }))),
    )(x);
    expect(grads?.dtype).toBe("f32");
    expect(grads && (await read(grads))).toEqual([2, 4]);
  });

  it("do not pass through integers", () => {
    const { grads } = valueAndGrad((given: Tensor) =>
      ops.sum(ops.cast(ops.cast(given, { dtype: "i32" }), { dtype: "f64" })),
    )(f64(1.5));
    expect(grads).toBeNull();
  });

  it("of a sum of views leave no buffers behind", async () => {
    const x = f64(1, 2, 3, 4);
    const before = backend.statistics();
    const { loss, grads } = valueAndGrad((given: Tensor) => {
      const [a, b] = ops.split(given, 2) as [Tensor, Tensor];
      return ops.sum(ops.mul(a, b));
    })(x);
    expect(grads && (await read(grads))).toEqual([3, 4, 1, 2]);
    loss.dispose();
    grads?.dispose();
    const after = backend.statistics();
    expect(after.liveTensors).toBe(before.liveTensors);
    expect(after.liveBuffers).toBe(before.liveBuffers);
  });
});
