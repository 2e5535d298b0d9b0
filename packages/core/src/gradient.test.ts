import { beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import type { Backend } from "./contract.ts";
import { ConfigError, ShapeError, UnsupportedError } from "./errors.ts";
import { customGradient, pullBack, valueAndGrad } from "./gradient.ts";
import { add, cast, exp, floor, mul, sum } from "./ops/index.ts";
import { type Tensor, stopGradient } from "./tensor.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

const f64 = (data: number[]): Tensor => backend.tensor(data, { dtype: "f64" });
const values = async (tensor: Tensor | null | undefined): Promise<number[] | null> =>
  tensor ? [...(await tensor.read())] : null;

describe("valueAndGrad", () => {
  it("gives loss, gradients in the parameters' form, and what was returned beside", async () => {
    const params = { a: f64([1, 2]), deep: [{ b: f64([3, 4]) }], note: "text" };
    const step = valueAndGrad((p: typeof params, scale: number) => {
      const product = mul(p.a, (p.deep[0] as { b: Tensor }).b);
      return { loss: mul(sum(product), scale), aux: { product, scale } };
    });
    const { loss, grads, aux } = step(params, 10);
    expect(await loss.item()).toBe(110);
    expect(await values(grads.a)).toEqual([30, 40]);
    expect(await values(grads.deep[0]?.b)).toEqual([10, 20]);
    expect(grads.note).toBe("text");
    expect(await values(aux.product)).toEqual([3, 8]);
    for (const tensor of [loss, grads.a, aux.product]) expect(tensor?.traced).toBe(false);
  });

  it("frees what stands beside the loss of its gradient, in maps and sets too", async () => {
    const { aux } = valueAndGrad((p: { x: Tensor }) => {
      const squares = mul(p.x, p.x);
      const aux = { map: new Map([["squares", squares]]), set: new Set([squares]) };
      return { loss: sum(squares), aux };
    })({ x: f64([3]) });
    const [inSet] = aux.set;
    expect(aux.map.get("squares")).toBe(inSet);
    expect(inSet?.traced).toBe(false);
    expect(await values(inSet)).toEqual([9]);
  });

  it("adds the gradients of several uses", async () => {
    const { grads } = valueAndGrad((p: { x: Tensor }) => sum(add(mul(p.x, p.x), exp(p.x))))({
      x: f64([0, 1]),
    });
    expect((await values(grads.x))?.map((g) => Number(g.toFixed(12)))).toEqual([
      1,
      Number((2 + Math.E).toFixed(12)),
    ]);
  });

  it("has null at integer, quantised, frozen and unreached leaves", () => {
    const params = {
      used: f64([1]),
      unused: f64([1]),
      frozen: f64([1]),
      ids: backend.tensor([1], { dtype: "i32" }),
      packed: { codes: backend.tensor(new Uint8Array([1])), scales: backend.tensor([1]) },
    };
    const { grads } = valueAndGrad((p: typeof params) => sum(mul(p.used, p.frozen)), {
      frozen: (path) => path === "frozen",
    })(params);
    expect(grads.used).not.toBeNull();
    expect([grads.unused, grads.frozen, grads.ids, grads.packed]).toEqual([null, null, null, null]);
  });

  it("stops at stopGradient, and at steps that have none", async () => {
    const { grads } = valueAndGrad((p: { x: Tensor }) =>
      sum(add(mul(stopGradient(p.x), p.x), floor(p.x))),
    )({ x: f64([3.5]) });
    expect(await values(grads.x)).toEqual([3.5]);
  });

  it("passes through casts", async () => {
    const { grads } = valueAndGrad((p: { x: Tensor }) => sum(mul(cast(p.x, { dtype: "f64" }), 2)))({
      x: backend.tensor([1, 2]),
    });
    expect(grads.x?.dtype).toBe("f32");
    expect(await values(grads.x)).toEqual([2, 2]);
  });

  it("refuses losses that are no scalar, empty trees and second order", () => {
    const x = f64([1, 2]);
    expect(() => valueAndGrad((p: { x: Tensor }) => p.x)({ x })).toThrow(ShapeError);
    expect(() => valueAndGrad(() => x)({})).toThrow(ConfigError);
    const inner = valueAndGrad((p: { x: Tensor }) => sum(p.x));
    expect(() => valueAndGrad((p: { x: Tensor }) => inner(p).loss)({ x })).toThrow(
      UnsupportedError,
    );
    const mixed = valueAndGrad(
      (p: { x: Tensor }) => valueAndGrad((q: { y: Tensor }) => sum(mul(p.x, q.y)))({ y: x }).loss,
    );
    expect(() => mixed({ x })).toThrow(ConfigError);
  });

  it("leaves nothing behind, also when the function throws", () => {
    const x = f64([1, 2]);
    const before = backend.statistics();
    const { loss, grads } = valueAndGrad((p: { x: Tensor }) => sum(exp(mul(p.x, p.x))))({ x });
    expect(backend.statistics().liveTensors).toBe(before.liveTensors + 2);
    loss.dispose();
    grads.x?.dispose();
    expect(() =>
      valueAndGrad((p: { x: Tensor }): Tensor => {
        exp(p.x);
        throw new RangeError("mine");
      })({ x }),
    ).toThrow("mine");
    const after = backend.statistics();
    expect(after.liveTensors).toBe(before.liveTensors);
    expect(after.liveBuffers).toBe(before.liveBuffers);
    expect(after.liveBytes).toBe(before.liveBytes);
  });

  it("gives the same bits every time", async () => {
    const data = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 7.3));
    const run = async (): Promise<number[] | null> =>
      values(
        valueAndGrad((p: { x: Tensor }) => sum(exp(mul(p.x, p.x))))({ x: backend.tensor(data) })
          .grads.x,
      );
    expect(await run()).toEqual(await run());
  });
});

describe("customGradient", () => {
  it("replaces the gradient: a straight-through estimator", async () => {
    const round = customGradient((x: Tensor) => ({
      outputs: [floor(x)] as const,
      gradient: ([gradient]) => [gradient],
    }));
    const { loss, grads } = valueAndGrad((p: { x: Tensor }) => sum(mul(round(p.x)[0], 3)))({
      x: f64([1.7]),
    });
    expect(await loss.item()).toBe(3);
    expect(await values(grads.x)).toEqual([3]);
  });

  it("keeps what it saved, also when a scope made it", async () => {
    const square = customGradient((x: Tensor) => ({
      outputs: [mul(x, x)] as const,
      saved: [mul(x, 2)],
      gradient: ([gradient], [double]) => [gradient && double && mul(gradient, double)],
    }));
    const { grads } = valueAndGrad((p: { x: Tensor }) => sum(backend.scope(() => square(p.x)[0])))({
      x: f64([5]),
    });
    expect(await values(grads.x)).toEqual([10]);
  });

  it("injects a gradient without changing the value", async () => {
    const inject = (x: Tensor, by: number): Tensor =>
      customGradient((input: Tensor) => ({
        outputs: [stopGradient(input)] as const,
        gradient: ([gradient]) => [gradient && add(gradient, by)],
      }))(x)[0];
    const { loss, grads } = valueAndGrad((p: { x: Tensor }) => sum(inject(p.x, 0.5)))({
      x: f64([2]),
    });
    expect(await loss.item()).toBe(2);
    expect(await values(grads.x)).toEqual([1.5]);
  });
});

describe("pullBack", () => {
  it("pulls gradients of outputs back to float inputs", async () => {
    const ids = backend.tensor([1], { dtype: "i32" });
    const found = pullBack(
      [f64([2]), undefined, ids, f64([3])],
      (a, _absent, _ids, b) => [mul(a as Tensor, b as Tensor), add(a as Tensor, 1)],
      [f64([10]), f64([1])],
    );
    expect(await values(found[0])).toEqual([31]);
    expect(found[1]).toBeUndefined();
    expect(found[2]).toBeUndefined();
    expect(await values(found[3])).toEqual([20]);
  });
});
