import { type ProductFormat, type Tensor, productFormats, roundsActivations } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "../../index.ts";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";
import { type Layer, descriptors, inputsOf, run, runOn, small, swiglu } from "./testing/layer.ts";

const gpu = await requireWebGpu();
/** Kernels with workgroup memory take long to compile where no hardware does the work. */
const PATIENCE = { timeout: 180_000 };

/** Sums of whole blocks, longer than one of 64. */
const blocks = { ...small, hidden: 96, inner: 64 };
const STORED = productFormats.filter((format) => !roundsActivations(format));

describe.skipIf(!gpu.available)("moeFfn of codes, registers", PATIENCE, () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ tiling: "registers" });
  });
  afterAll(() => pair.dispose());
  const agrees = (layer: Layer): Promise<void> =>
    pair.agree((backend) => run(backend, layer), 5e-6);

  it.each(productFormats)("agrees: %s", async (format) => {
    for (const tokens of [1, 20]) {
      expect(await agrees({ ...blocks, tokens, format })).toBeUndefined();
    }
    const weighted = { ...blocks, tokens: 5, format, biases: true, inputWeights: true };
    expect(await agrees(weighted)).toBeUndefined();
    expect(pair.gpu.record()["moeFfn"]?.decomposed).toBe(0);
  });

  it.each(STORED)("agrees on transposed and interleaved banks: %s", async (format) => {
    const kinds = descriptors.filter(([name]) => /^geluTanh|gpt-oss/.test(name));
    for (const [index, [, descriptor]] of kinds.entries()) {
      const layer = {
        ...blocks,
        tokens: index % 2 === 0 ? 3 : 17,
        format,
        descriptor,
        biases: true,
      };
      expect(await agrees(layer)).toBeUndefined();
    }
  });

  it("agrees on odd widths, which only a scale for each row allows", async () => {
    for (const transposed of [false, true]) {
      const descriptor = { ...swiglu, transposed };
      const layer = { ...small, hidden: 37, inner: 19, output: 23, descriptor };
      for (const tokens of [1, 4, 20]) {
        expect(await agrees({ ...layer, tokens, format: "q8_row" })).toBeUndefined();
      }
    }
  });
});

describe.skipIf(!gpu.available)("moeFfn of codes, any order", PATIENCE, () => {
  it.each(["q8_row", "mxfp4", "q4_block32_a8"] as const)("agrees: %s", async (format) => {
    const pair = await createPair({ tiling: "registers", batchInvariant: false });
    for (const tokens of [1, 5]) {
      const layer = { ...blocks, tokens, format };
      expect(await pair.agree((backend) => run(backend, layer), 5e-6)).toBeUndefined();
    }
    await pair.dispose();
  });
});

describe.skipIf(!gpu.available)("moeFfn of codes", PATIENCE, () => {
  it.each(["q8_row", "mxfp4"] as const)(
    "gives the same bits through workgroup memory and through registers: %s",
    async (format) => {
      const ways = await Promise.all([
        createPair({ tiling: "registers" }),
        createPair({ tiling: "registers", features: [] }),
        createPair({ tiling: "workgroup" }),
      ]);
      for (const tokens of [2, 20]) {
        const layer = { ...blocks, tokens, biases: true, format };
        const [first, ...others] = await Promise.all(
          ways.map(({ gpu: backend }) => run(backend, layer).read()),
        );
        for (const other of others) expect(other).toEqual(first);
      }
      for (const way of ways) await way.dispose();
    },
  );

  it("gives a token the same bits in decode and in prefill", async () => {
    const backend = await create({ tiling: "registers" });
    for (const format of ["q8_row", "q4_block32", "q8_block32_a8"] as ProductFormat[]) {
      const layer = { ...blocks, tokens: 20, format };
      const [x, indices, weights, ...rest] = inputsOf(backend, layer) as [Tensor, Tensor, Tensor];
      const parts = await Promise.all(
        [x, indices, weights].map(async (tensor) => {
          const [, width = 0] = tensor.shape;
          const data = ((await tensor.read()) as Float32Array).slice(4 * width, 7 * width);
          return backend.tensor(data, { shape: [3, width], dtype: tensor.dtype });
        }),
      );
      const all = await runOn([x, indices, weights, ...rest], layer).read();
      const some = await runOn([...parts, ...rest], { ...layer, tokens: 3 }).read();
      expect(some).toEqual(all.slice(4 * blocks.hidden, 7 * blocks.hidden));
    }
    await backend.dispose();
  });

  it("works on banks and scales in segments", async () => {
    const pair = await createPair({ segmentBytes: 1536, limits: "default", tiling: "registers" });
    for (const [format, transposed] of [
      ["q8_block32", false],
      ["q4_block32", true],
      ["mxfp4", false],
    ] as const) {
      for (const tokens of [2, 10]) {
        const descriptor = { ...swiglu, transposed };
        const layer = { ...small, hidden: 32, inner: 32, descriptor, tokens, format };
        expect(await pair.agree((backend) => run(backend, layer), 5e-6)).toBeUndefined();
      }
    }
    await pair.dispose();
  });

  it.each(["q8_row", "mxfp4", "q4_block32_a8"] as const)(
    "never holds the numbers of the weights: %s",
    async (format) => {
      for (const tokens of [4, 20]) {
        const backend = await create({ tiling: "registers" });
        const layer: Layer = { ...small, experts: 8, hidden: 256, inner: 256, tokens, format };
        const inputs = inputsOf(backend, layer);
        await runOn(inputs, layer).read();
        const { liveBytes, peakBytes } = backend.statistics();
        expect(backend.record()["moeFfn"]).toMatchObject({ decomposed: 0 });
        // All three matrices of every expert in f32.
        expect(peakBytes).toBeLessThan(layer.experts * 3 * layer.hidden * layer.inner * 4);
        // Tokens and activations alone are added to what the inputs take.
        expect(peakBytes - liveBytes).toBeLessThan(tokens * layer.choices * 4 * 1024 * 4);
        await backend.dispose();
      }
    },
  );
});
