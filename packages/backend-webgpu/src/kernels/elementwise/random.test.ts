import {
  dequantize,
  hostBits,
  hostNormal,
  hostUniform,
  normal,
  quantizedFormats,
  randomBits,
  randomKey,
  sizeOf,
  uniform,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { pairChecks, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

describe.skipIf(!gpu.available)("random numbers and quantised weights", () => {
  const pairs = pairChecks(256);
  const { checkBoth } = pairs;

  it.each([0, 1, 2, 3, 5, 64, 1001])("draws %i words as the host does", async (size) => {
    for (const { gpu: backend } of [pairs.whole, pairs.segmented]) {
      const key = randomKey(2 ** 40 + size);
      const bits = await randomBits(backend, { key, shape: [size] }).read();
      expect(bits).toEqual(hostBits(key, size));
      const numbers = await uniform(backend, { key, shape: [size], dtype: "f32" }).read();
      expect([...numbers]).toEqual([...hostUniform(key, size)]);
    }
  });

  it("draws normal numbers close to the host's", async () => {
    const key = randomKey(77);
    const size = 100_003;
    const numbers = await normal(pairs.whole.gpu, { key, shape: [size], dtype: "f32" }).read();
    const wanted = hostNormal(key, size);
    let worst = 0;
    for (const [index, want] of wanted.entries()) {
      const error = Math.abs((numbers[index] ?? Number.NaN) - want) / (1 + Math.abs(want));
      if (!(error <= worst)) worst = error;
    }
    expect(worst).toBeLessThan(2e-6);
    expect(Math.max(...wanted)).toBeGreaterThan(4);
  });

  it.each([[7], [4], [3, 8], [5, 7], [2, 3, 129], [0, 4], [4, 0]])(
    "reads one byte a value, shape %j",
    async (...sizes: number[]) =>
      checkBoth((backend) => {
        const size = sizes.reduce((product, dimension) => product * dimension, 1);
        const codes = Uint8Array.from(hostBits(randomKey(5), size), (word) => word & 255);
        return dequantize(
          backend.tensor(codes, { shape: sizes }),
          randomTensor(backend, 6, sizes.slice(0, -1)),
          { format: "q8_row", shape: sizes, dtype: "f32" },
        );
      }, 1e-7),
  );

  it.each(["q8_block32", "q4_block32", "mxfp4"] as const)("reads %s", async (format) => {
    for (const shape of [[64], [3, 5, 96], [0, 32], [4, 0], [7, 512]]) {
      await checkBoth((backend) => {
        const { codesPerByte } = quantizedFormats[format];
        const [rows, width] = [shape.slice(0, -1), shape.at(-1) ?? 0];
        const words = (seed: number, size: number): Uint8Array =>
          Uint8Array.from(hostBits(randomKey(seed), size), (word) => word & 255);
        const codeShape = [...rows, width / codesPerByte];
        const scaleShape = [...rows, width / 32];
        const codes = backend.tensor(words(5, sizeOf(codeShape)), { shape: codeShape });
        const scales =
          format === "mxfp4"
            ? backend.tensor(
                words(6, sizeOf(scaleShape)).map((byte) => 64 + (byte >> 1)),
                { shape: scaleShape },
              )
            : randomTensor(backend, 6, scaleShape);
        return dequantize(codes, scales, { format, shape, dtype: "f32" });
      }, 1e-7);
    }
  });
});
