import { describe, expect, it } from "vitest";
import { type WeightFormat, bytesPerWeight, codedMatrix, gridOf } from "./moe-model.ts";
import { type HostMatrix, hostWeights } from "./weights.ts";

const sizes = { hidden: 64, intermediate: 96, experts: 3, topK: 2 };

describe("a matrix in codes", () => {
  it.each(["q8_row", "q4_block32"] as const)("stands for its numbers in %s", (format) => {
    const { down } = hostWeights(sizes, gridOf(format));
    const { codes, codesShape, scales, scalesShape } = codedMatrix(down, format);
    const halves = format === "q4_block32";
    expect(codesShape).toEqual([3, 64, halves ? 48 : 96]);
    expect(scalesShape).toEqual(halves ? [3, 64, 3] : [3, 64]);
    const block = halves ? 32 : 96;
    for (let index = 0; index < 3 * 64 * 96; index++) {
      const byte = codes[halves ? index >> 1 : index] ?? 0;
      const code = halves ? (byte >> (4 * (index & 1))) & 15 : byte;
      const scale = scales[Math.floor(index / block)] ?? 0;
      expect((code - (halves ? 8 : 128)) * scale).toBe(down.at(index));
    }
  });

  it("has the scale that onnxruntime's rule gives", () => {
    const { gateUp } = hostWeights(sizes, gridOf("q4_block32"));
    const { scales } = codedMatrix(gateUp, "q4_block32");
    for (const [block, scale] of scales.entries()) {
      expect(largestOf(gateUp, block * 32, 32) / 7).toBe(scale);
    }
  });

  it.each([
    ["f32", 4],
    ["q8_row", 1 + 4 / 512],
    ["q4_block32", 0.5 + 4 / 32],
  ] as const)("takes so many bytes of memory in %s", (format: WeightFormat, bytes) => {
    expect(bytesPerWeight(format, 512)).toBe(bytes);
  });
});

function largestOf(matrix: HostMatrix, start: number, count: number): number {
  let largest = 0;
  for (let index = start; index < start + count; index++) {
    largest = Math.max(largest, Math.abs(matrix.at(index)));
  }
  return largest;
}
