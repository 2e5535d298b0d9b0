import { describe, expect, it } from "vitest";
import { encoded } from "./blocks.ts";
import { numberPool } from "./random-matrix.ts";

/** The value of a half float that is normal or zero, by its definition. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  if ((bits & 0x7fff) === 0) return 0;
  return sign * (1 + (bits & 0x3ff) / 1024) * 2 ** (((bits >> 10) & 31) - 15);
}

/** `dequantize_row_q8_0` and `dequantize_row_q4_0` of ggml, in plain loops. */
function decoded(bytes: Uint8Array, type: "Q8_0" | "Q4_0"): number[] {
  const size = type === "Q8_0" ? 34 : 18;
  const values: number[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const scale = half((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8));
    const codes = [...bytes.subarray(at + 2, at + size)];
    const numbers =
      type === "Q8_0"
        ? codes.map((code) => (code < 128 ? code : code - 256))
        : [...codes.map((code) => (code & 15) - 8), ...codes.map((code) => (code >> 4) - 8)];
    values.push(...numbers.map((number) => number * scale));
  }
  return values;
}

describe("encoded", () => {
  it.each([
    ["Q8_0", 127],
    ["Q4_0", 7],
  ] as const)("holds whole numbers of a step in %s exactly", (type, largest) => {
    const values = numberPool({ largest }).matrix(7, [8, 64]).values(0, 512);
    const bytes = encoded(values, type);
    expect(bytes.length).toBe((512 / 32) * (type === "Q8_0" ? 34 : 18));
    expect(decoded(bytes, type)).toEqual([...values]);
  });

  it("puts the first 16 values of a block in low halves of bytes, and the others in high ones", () => {
    const values = new Float32Array(32);
    [values[0], values[1], values[16], values[31]] = [7, -7, 3, -1];
    const bytes = encoded(values, "Q4_0");
    // 1 as a half float, then 7 + 8 below 3 + 8, −7 + 8 below 8, …, 8 below −1 + 8.
    expect([...bytes.subarray(0, 4)]).toEqual([0x00, 0x3c, 0xbf, 0x81]);
    expect(bytes[17]).toBe(0x78);
  });

  it("gives a block of zeros the scale 0", () => {
    const zeros = new Float32Array(32);
    expect([...encoded(zeros, "Q8_0")]).toEqual(Array.from({ length: 34 }, () => 0));
    expect(decoded(encoded(zeros, "Q4_0"), "Q4_0").every((value) => value === 0)).toBe(true);
  });

  it("keeps floats as they are", () => {
    const values = Float32Array.of(1.5, -2, 0);
    expect(new Float32Array(encoded(values, "F32").slice().buffer)).toEqual(values);
    expect([...new Uint16Array(encoded(values, "F16").slice().buffer)].map(half)).toEqual([
      1.5, -2, 0,
    ]);
  });

  it("refuses what a half float does not hold", () => {
    expect(() => encoded(Float32Array.of(0.1), "F16")).toThrow("is no half float");
    expect(() => encoded(new Float32Array(32).fill(0.1), "Q8_0")).toThrow("is no half float");
  });
});
