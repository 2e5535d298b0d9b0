import type { Tensor } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair } from "../../testing/oracle.ts";
import { type Layer, descriptors, inputsOf, run, runOn, small, swiglu } from "./testing/layer.ts";

describe("moeFfn", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 2 });
  });
  afterAll(() => pair.dispose());
  const agrees = (layer: Layer): Promise<void> =>
    pair.agree((backend) => run(backend, layer), 3e-6);

  it.each([0, 1, 2, 3, 8, 9, 33, 70])("agrees for %i tokens", async (tokens) => {
    await agrees({ ...small, tokens });
    expect(pair.wasm.record()["moeFfn"]?.decomposed).toBe(0);
  });

  it.each(descriptors)("agrees with biases: %s", async (_, descriptor) => {
    for (const tokens of [1, 3, 17]) {
      for (const inner of [12, 7]) {
        await agrees({ ...small, tokens, inner, descriptor, biases: true, inputWeights: true });
      }
    }
    expect(pair.wasm.record()["moeFfn"]?.decomposed).toBe(0);
  });

  it.each([
    ["k = E", { choices: 4 }],
    ["one expert", { choices: 1, experts: 1 }],
    ["all to one", { indices: new Array(40).fill(2) }],
    ["nobody has an expert", { indices: new Array(40).fill(4) }],
    ["ids outside", { indices: Array.from({ length: 40 }, (_, i) => [-1, 9, 0, 3][i % 4] ?? 0) }],
    ["odd sizes", { hidden: 5, inner: 3, output: 7 }],
    ["nothing comes in", { hidden: 0, output: 5, biases: true }],
    ["nothing comes out", { output: 0 }],
    ["nothing is between", { inner: 0, biases: true, descriptor: { activation: "relu" } }],
    ["long sums come in", { hidden: 1030, inner: 20, experts: 2 }],
    ["long sums go out", { hidden: 20, inner: 770, experts: 2 }],
    ["many experts", { experts: 33, choices: 3 }],
  ] as const)("agrees when %s", async (_, change) => {
    for (const tokens of [20, 4]) {
      const indices = "indices" in change ? change.indices.slice(0, tokens * 2) : undefined;
      await agrees({ ...small, tokens, ...change, ...(indices && { indices }) } as Layer);
    }
    expect(pair.wasm.record()["moeFfn"]?.decomposed).toBe(0);
  });

  it.each(["f16", "bf16"] as const)("reads weights in %s", async (dtype) => {
    for (const inner of [12, 7]) {
      for (const transposed of [false, true]) {
        const descriptor = { ...swiglu, transposed };
        for (const tokens of [3, 17]) {
          await agrees({ ...small, tokens, inner, descriptor, dtype });
        }
      }
    }
    expect(pair.wasm.record()["moeFfn"]?.decomposed).toBe(0);
  });

  it("gives a token the same bits in decode and in prefill", async () => {
    const layer = { ...small, tokens: 65, hidden: 132, inner: 140, biases: true };
    const [x, indices, weights, ...bank] = inputsOf(pair.wasm, layer) as [Tensor, Tensor, Tensor];
    const rows = async (first: number, count: number): Promise<number[]> => {
      const part = async (tensor: Tensor): Promise<Tensor> => {
        const width = tensor.shape[1] ?? 1;
        const piece = (await tensor.read()).slice(first * width, (first + count) * width);
        return pair.wasm.tensor(piece, { shape: [count, width], dtype: tensor.dtype });
      };
      const inputs = [await part(x), await part(indices), await part(weights), ...bank];
      return [...(await runOn(inputs, layer).read())];
    };
    const all = await rows(0, 65);
    for (const [first, count] of [
      [0, 1],
      [64, 1],
      [10, 8],
      [3, 20],
    ] as const) {
      expect(await rows(first, count)).toEqual(all.slice(first * 132, (first + count) * 132));
    }
  });

  it("gives the same bits on one thread", async () => {
    const layer = { ...small, tokens: 300, hidden: 132, inner: 140, biases: true };
    const alone = await createPair({ threads: 1 });
    const found = await run(alone.wasm, layer).read();
    expect(found).toEqual(await run(pair.wasm, layer).read());
    await alone.dispose();
  });

  it("lets no NaN out of its token", async () => {
    const layer = { ...small, tokens: 20 };
    const [x, ...others] = inputsOf(pair.wasm, layer) as [Tensor, ...Tensor[]];
    const values = (await x.read()) as Float32Array;
    const of = async (data: Float32Array): Promise<number[]> => {
      const dirty = pair.wasm.tensor(data, { shape: x.shape });
      return [...(await runOn([dirty, ...others], layer).read())];
    };
    const clean = await of(values);
    const dirty = await of(values.map((value, at) => (at === 8 * 7 ? Number.NaN : value)));
    expect(dirty.slice(56, 64)).toEqual(new Array(8).fill(Number.NaN));
    expect([...dirty.slice(0, 56), ...dirty.slice(64)]).toEqual([
      ...clean.slice(0, 56),
      ...clean.slice(64),
    ]);
  });

  it("keeps nothing but its output", async () => {
    const inputs = inputsOf(pair.wasm, { ...small, tokens: 9 });
    const before = pair.wasm.statistics().liveBuffers;
    const y = runOn(inputs, { ...small, tokens: 9 });
    expect(pair.wasm.statistics().liveBuffers).toBe(before + 1);
    y.dispose();
  });
});
