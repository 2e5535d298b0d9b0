import { type Tensor, moeFfn } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";
import { type Layer, descriptors, inputsOf, run, small, swiglu } from "./testing/layer.ts";

const gpu = await requireWebGpu();
/** Kernels with workgroup memory take long to compile where no hardware does the work. */
const PATIENCE = 180_000;

describe.skipIf(!gpu.available)("moeFfn", { timeout: PATIENCE }, () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ tiling: "registers" });
  });
  afterAll(() => pair.dispose());
  const agrees = (layer: Layer): Promise<void> =>
    pair.agree((backend) => run(backend, layer), 3e-6);

  it.each([0, 1, 2, 8, 9, 33, 70])("agrees for %i tokens", async (tokens) => {
    expect(await agrees({ ...small, tokens })).toBeUndefined();
  });

  it.each(descriptors)("agrees with biases: %s", async (_, descriptor) => {
    for (const tokens of [3, 17]) {
      for (const inner of [12, 7]) {
        const layer = { ...small, tokens, inner, descriptor, biases: true, inputWeights: true };
        expect(await agrees(layer)).toBeUndefined();
      }
    }
  });

  it.each([
    ["k = E", { choices: 4 }],
    ["one expert", { choices: 1, experts: 1 }],
    ["all to one", { indices: new Array(40).fill(2) }],
    ["nobody has an expert", { indices: new Array(40).fill(4) }],
    ["ids outside", { indices: Array.from({ length: 40 }, (_, i) => [-1, 9, 0, 3][i % 4] ?? 0) }],
    ["odd sizes", { hidden: 5, inner: 3, output: 7 }],
    ["long sums", { hidden: 130, inner: 70, output: 66 }],
    ["many experts", { experts: 33, choices: 3 }],
  ] as const)("agrees when %s", async (_, change) => {
    for (const tokens of [20, 4]) {
      const indices = "indices" in change ? change.indices.slice(0, tokens * 2) : undefined;
      const layer = { ...small, tokens, ...change, ...(indices && { indices }) };
      expect(await agrees(layer as Layer)).toBeUndefined();
    }
  });

  it.each(["f16", "bf16"] as const)("reads weights in %s", async (dtype) => {
    for (const inner of [12, 7]) {
      for (const transposed of [false, true]) {
        const descriptor = { ...swiglu, transposed };
        for (const tokens of [3, 17]) {
          expect(await agrees({ ...small, tokens, inner, descriptor, dtype })).toBeUndefined();
        }
      }
    }
    expect(pair.gpu.record()["moeFfn"]?.decomposed).toBe(0);
  });

  it("gives a token the same bits in decode and in prefill", async () => {
    const layer = { ...small, tokens: 65, hidden: 132, inner: 140, biases: true };
    const [x, indices, weights, up, down, upBias, downBias] = inputsOf(pair.gpu, layer);
    const rows = async (first: number, count: number): Promise<number[]> => {
      const part = (tensor: Tensor, type: "f32" | "i32"): Promise<Tensor> =>
        tensor.read().then((all) => {
          const width = tensor.shape[1] ?? 1;
          const piece = all.slice(first * width, (first + count) * width);
          return pair.gpu.tensor(piece as Float32Array, { shape: [count, width], dtype: type });
        });
      const y = moeFfn(
        await part(x as Tensor, "f32"),
        await part(indices as Tensor, "i32"),
        await part(weights as Tensor, "f32"),
        up as Tensor,
        down as Tensor,
        upBias,
        downBias,
        undefined,
        undefined,
        undefined,
        { descriptor: swiglu },
      );
      return [...(await y.read())];
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

  it("lets no NaN out of its token", async () => {
    const layer = { ...small, tokens: 20 };
    const [x, ...others] = inputsOf(pair.gpu, layer) as [Tensor, ...Tensor[]];
    const values = (await x.read()) as Float32Array;
    const [indices, weights, up, down] = others as [Tensor, Tensor, Tensor, Tensor];
    const of = async (data: Float32Array): Promise<number[]> => [
      ...(await moeFfn(
        pair.gpu.tensor(data, { shape: x.shape }),
        indices,
        weights,
        up,
        down,
        undefined,
        undefined,
        undefined,
        undefined,
        undefined,
        { descriptor: swiglu },
      ).read()),
    ];
    const clean = await of(values);
    const dirty = await of(values.map((value, at) => (at === 8 * 7 ? Number.NaN : value)));
    expect([...dirty.slice(0, 56), ...dirty.slice(64)]).toEqual([
      ...clean.slice(0, 56),
      ...clean.slice(64),
    ]);
  });
});

describe.skipIf(!gpu.available)("moeFfn, elsewhere", () => {
  it(
    "gives the same bits through workgroup memory and through registers",
    async () => {
      const [here, there] = [
        await createPair({ tiling: "registers" }),
        await createPair({ tiling: "workgroup" }),
      ];
      for (const tokens of [2, 20]) {
        const layer = { ...small, tokens, hidden: 132, inner: 72, biases: true };
        expect(await there.agree((backend) => run(backend, layer), 3e-6)).toBeUndefined();
        const [a, b] = [run(here.gpu, layer), run(there.gpu, layer)];
        expect(await a.read()).toEqual(await b.read());
      }
      await Promise.all([here.dispose(), there.dispose()]);
    },
    PATIENCE,
  );

  it(
    "works on banks in segments",
    async () => {
      const pair = await createPair({ segmentBytes: 1024, limits: "default", tiling: "registers" });
      for (const tokens of [2, 20]) {
        const layer = { ...small, tokens };
        expect(await pair.agree((backend) => run(backend, layer), 3e-6)).toBeUndefined();
      }
      await pair.dispose();
    },
    PATIENCE,
  );
});
