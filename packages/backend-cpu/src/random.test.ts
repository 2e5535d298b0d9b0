import {
  type Backend,
  type RandomKey,
  dequantize,
  hostBits,
  hostNormal,
  hostUniform,
  normal,
  randomBits,
  threefry2x32,
  uniform,
} from "@moiety/core";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

const KEY: RandomKey = [0x13198a2e, 0x03707344];

describe("random numbers", () => {
  it("has the words of the published test vector", async () => {
    // Random123's kat_vectors: threefry2x32, 20 rounds, all zeros.
    const words = randomBits(backend, { key: [0, 0], shape: [2] });
    expect(words.dtype).toBe("u32");
    expect(await valuesOf(words)).toEqual([0x6b200159, 0x99ba4efe]);
  });

  it("equals the host's draws to the bit, for odd counts too", async () => {
    for (const shape of [[0], [1], [7], [3, 5], [2, 2000]]) {
      const count = shape.reduce((product, size) => product * size, 1);
      const bits = await valuesOf(randomBits(backend, { key: KEY, shape }));
      expect(bits).toEqual([...hostBits(KEY, count)]);
      expect(bits).toEqual(
        bits.map((_, index) => threefry2x32(KEY, [Math.floor(index / 2), 0])[(index % 2) as 0 | 1]),
      );
      const wide = await valuesOf(uniform(backend, { key: KEY, shape, dtype: "f64" }));
      expect(wide).toEqual([...hostUniform(KEY, count)]);
      // 24 bits fit a float32.
      expect(await valuesOf(uniform(backend, { key: KEY, shape, dtype: "f32" }))).toEqual(wide);
      const bell = await valuesOf(normal(backend, { key: KEY, shape, dtype: "f64" }));
      expect(bell).toEqual([...hostNormal(KEY, count)]);
      const narrow = await valuesOf(normal(backend, { key: KEY, shape, dtype: "f32" }));
      expect(narrow).toEqual(bell.map(Math.fround));
    }
  });
});

describe("dequantize", () => {
  it("scales codes around 128, row by row", async () => {
    const codes = backend.tensor(Uint8Array.of(0, 128, 255, 127, 129, 130), { shape: [1, 2, 3] });
    const scales = backend.tensor([0.1, -3], { shape: [1, 2] });
    const scale = Math.fround(0.1);
    for (const dtype of ["f32", "f64"] as const) {
      const out = dequantize(codes, scales, { format: "q8_row", shape: [1, 2, 3], dtype });
      expect(out.dtype).toBe(dtype);
      const exact = [-128 * scale, 0, 127 * scale, 3, -3, -6];
      expect(await valuesOf(out)).toEqual(dtype === "f32" ? exact.map(Math.fround) : exact);
    }
  });

  it("rounds a float64 scale to the dtype first", async () => {
    const codes = backend.tensor(Uint8Array.of(255), { shape: [1, 1] });
    const scale = 1 + 2 ** -24 + 2 ** -30;
    const scales = backend.tensor([scale], { dtype: "f64" });
    const out = dequantize(codes, scales, { format: "q8_row", shape: [1, 1], dtype: "f32" });
    expect(Math.fround(127 * scale)).not.toBe(127 * Math.fround(scale));
    expect(await valuesOf(out)).toEqual([Math.fround(127 * Math.fround(scale))]);
  });

  it("takes every code and no rows", async () => {
    const codes = backend.tensor(
      Uint8Array.from({ length: 256 }, (_, code) => code),
      { shape: [256, 1] },
    );
    const scales = backend.tensor(numbersOf(1, 256), { dtype: "f64" });
    const out = dequantize(codes, scales, { format: "q8_row", shape: [256, 1], dtype: "f64" });
    expect(await valuesOf(out)).toEqual(
      numbersOf(1, 256).map((scale, code) => (code - 128) * scale),
    );
    const none = backend.tensor(new Uint8Array(0), { shape: [0, 4] });
    const noScales = backend.tensor([], { dtype: "f32" });
    expect(
      dequantize(none, noScales, { format: "q8_row", shape: [0, 4], dtype: "f32" }).shape,
    ).toEqual([0, 4]);
  });
});
