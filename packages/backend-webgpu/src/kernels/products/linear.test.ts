import {
  type Backend,
  type ProductFormat,
  type Shape,
  type Tensor,
  cast,
  dequantize,
  linear,
  matmul,
  productFormats,
  quantizedFormats,
  roundsActivations,
  storedFormat,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WebGpuOptions } from "../../options.ts";
import { requireWebGpu } from "../../testing/adapter.ts";
import { randomCodes } from "../../testing/codes.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();
/** Kernels with workgroup memory take long to compile where no hardware does the work. */
const PATIENCE = { timeout: 180_000 };

type Held = ProductFormat | "f32" | "f16" | "bf16";
const FLOATS: readonly Held[] = ["f32", "f16", "bf16"];
const HELD: readonly Held[] = [...FLOATS, ...productFormats];

/** Each way to read. */
const SOME: readonly Held[] = ["f32", "f16", "q8_row", "mxfp4", "q4_block32_a8"];

const isFormat = (held: Held): held is ProductFormat => !FLOATS.includes(held);

/** Numbers whose blocks of 32 have a step of 1/64 and no halves of it: all round them alike. */
function steps(backend: Backend, shape: Shape): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  const values = Float32Array.from({ length: size }, (_, i) =>
    i % 32 === 7 ? 127 / 64 : (((i * 37) % 253) - 126 + (((i * 5) % 7) - 3) / 8) / 64,
  );
  return backend.tensor(values, { shape });
}

function product(backend: Backend, held: Held, x: Shape, columns: number): Tensor {
  const inner = x.at(-1) ?? 0;
  const format = isFormat(held) ? held : undefined;
  const rows =
    format && roundsActivations(format) ? steps(backend, x) : randomTensor(backend, 1, x);
  if (format) {
    const { codes, scales } = randomCodes(backend, 2, storedFormat(format), [columns, inner]);
    return linear(rows, codes, scales, { format });
  }
  const weight = randomTensor(backend, 2, [columns, inner]);
  const same = held === "f32" || !FLOATS.includes(held);
  return linear(
    rows,
    same ? weight : cast(weight, { dtype: held as "f16" | "bf16" }),
    undefined,
    {},
  );
}

/** Shapes of x, and columns; K is a multiple of 32. */
const SHAPES: readonly (readonly [x: Shape, columns: number])[] = [
  [[64], 5],
  [[1, 32], 1],
  [[3, 96], 20],
  [[2, 4, 160], 33],
  [[21, 64], 264],
  [[0, 32], 4],
  [[3, 32], 0],
  [[2, 0], 3],
];

const WAYS: readonly (readonly [string, WebGpuOptions])[] = [
  ["registers", { tiling: "registers" }],
  ["registers, any order", { tiling: "registers", batchInvariant: false }],
  ["registers, no features", { tiling: "registers", features: [] }],
  ["segments", { tiling: "registers", segmentBytes: 4096, limits: "default" }],
];

describe.skipIf(!gpu.available).each(WAYS)("linear, %s", PATIENCE, (_, options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  const usual = Object.keys(options).length === 1;
  it.each(usual ? HELD : SOME)("agrees on weights in %s", async (held) => {
    for (const [x, columns] of SHAPES) {
      expect(
        await pair.agree((backend) => product(backend, held, x, columns), 3e-6),
      ).toBeUndefined();
    }
    expect(pair.gpu.record()["linear"]?.decomposed).toBe(0);
  });
});

describe.skipIf(!gpu.available)("linear through workgroup memory", PATIENCE, () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ tiling: "workgroup" });
  });
  afterAll(() => pair.dispose());

  it.each(["f16", "q8_row", "q4_block32", "mxfp4"] as const)("agrees on %s", async (held) => {
    for (const x of [
      [2, 96],
      [20, 96],
    ]) {
      expect(await pair.agree((backend) => product(backend, held, x, 20), 3e-6)).toBeUndefined();
    }
  });
});

describe.skipIf(!gpu.available)("linear", PATIENCE, () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ tiling: "registers" });
  });
  afterAll(() => pair.dispose());

  it("reads rows of any width from codes with a scale for each", async () => {
    for (const inner of [1, 7, 30]) {
      for (const rows of [1, 5]) {
        expect(
          await pair.agree((backend) => product(backend, "q8_row", [rows, inner], 9), 3e-6),
        ).toBeUndefined();
      }
    }
  });

  it.each(Object.keys(quantizedFormats) as (keyof typeof quantizedFormats)[])(
    "reads the numbers that dequantize gives, to the bit: %s",
    async (format) => {
      const [columns, inner] = [40, 64];
      const { codes, scales } = randomCodes(pair.gpu, 5, format, [columns, inner]);
      const identity = Float32Array.from({ length: inner * inner }, (_, i) =>
        i % (inner + 1) === 0 ? 1 : 0,
      );
      const x = pair.gpu.tensor(identity, { shape: [inner, inner] });
      const shape = [columns, inner];
      const numbers = await dequantize(codes, scales, { format, shape, dtype: "f32" }).read();
      const found = await linear(x, codes, scales, { format }).read();
      for (const [i, value] of numbers.entries()) {
        expect(found[(i % inner) * columns + Math.floor(i / inner)]).toBe(value + 0);
      }
    },
  );

  it("has the bits of matmul, and a row those that it has alone", async () => {
    const x = randomTensor(pair.gpu, 1, [9, 140]);
    const weight = randomTensor(pair.gpu, 2, [24, 140]);
    const all = await linear(x, weight, undefined, {}).read();
    expect(all).toEqual(await matmul(x, weight, { transposeB: true }).read());
    const values = (await x.read()) as Float32Array;
    const row = pair.gpu.tensor(values.slice(280, 420), { shape: [140] });
    expect(await linear(row, weight, undefined, {}).read()).toEqual(all.slice(48, 72));
  });

  it("takes an infinite and a missing scale of mxfp4 for what they are", async () => {
    const codes = new Uint8Array(48).fill(0x72);
    const scales = Uint8Array.from([127, 254, 255]);
    const y = await linear(
      pair.gpu.tensor(new Float32Array(32).fill(1), { shape: [32] }),
      pair.gpu.tensor(codes, { shape: [3, 16] }),
      pair.gpu.tensor(scales, { shape: [3, 1] }),
      { format: "mxfp4" },
    ).read();
    expect([...y]).toEqual([16 * 7, Number.POSITIVE_INFINITY, Number.NaN]);
  });
});
