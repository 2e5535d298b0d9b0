import { describe, expect, it } from "vitest";
import { Bytes, float32, float64, immediate, signed, simd, text, unsigned } from "./code.ts";

/** What the bytes mean, by the definition of LEB128. */
function decode(bytes: readonly number[], isSigned: boolean): number {
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    value |= BigInt(byte & 127) << shift;
    shift += 7n;
  }
  const negative = isSigned && ((bytes.at(-1) ?? 0) & 64) !== 0;
  return Number(negative ? value - (1n << shift) : value);
}

const EDGES = [0, 1, 63, 64, 127, 128, 8191, 8192, 16_383, 16_384, 2 ** 20, 2 ** 27, 2 ** 31 - 1];

describe("LEB128", () => {
  it.each([...EDGES, 2 ** 31, 2 ** 32 - 1])("writes %i unsigned", (value) => {
    const bytes = unsigned(value);
    expect(decode(bytes, false)).toBe(value);
    expect(bytes.length).toBe(Math.max(1, Math.ceil(Math.log2(value + 1) / 7)));
    expect(bytes.slice(0, -1).every((byte) => byte >= 128)).toBe(true);
    expect(bytes.at(-1)).toBeLessThan(128);
  });

  it.each([...EDGES, ...EDGES.map((value) => -value), -(2 ** 31), -65])(
    "writes %i signed",
    (value) => {
      const bytes = signed(value);
      expect(decode(bytes, true)).toBe(value === 0 ? 0 : value);
      expect(bytes.length).toBeLessThanOrEqual(5);
      // One byte less would not hold it.
      const bits = Math.ceil(Math.log2(value < 0 ? -value : value + 1)) + 1;
      expect(bytes.length).toBe(Math.max(1, Math.ceil(bits / 7)));
    },
  );

  it("takes addresses above 2^31 as the same 32 bits", () => {
    expect(signed(2 ** 32 - 65_536)).toEqual(signed(-65_536));
    expect(decode(signed(2 ** 31), true)).toBe(-(2 ** 31));
  });

  it.each([-1, 0.5, 2 ** 32, Number.NaN])("refuses %d where it has to be unsigned", (value) => {
    expect(() => unsigned(value)).toThrow(RangeError);
  });

  it.each([0.5, 2 ** 32, -(2 ** 31) - 1, Number.NaN, Infinity])(
    "refuses %d, which is not of 32 bits",
    (value) => {
      expect(() => signed(value)).toThrow(RangeError);
    },
  );
});

describe("code", () => {
  it("is put in order, with lengths where they are asked for", () => {
    const out = new Bytes();
    out.put([1, [2, [3], []], [[[4]]], 5]);
    out.sized(() => {
      out.put([6]);
      out.sized(() => out.put(Array.from({ length: 200 }, () => 7)));
    });
    out.put([8]);
    const sevens = Array.from({ length: 200 }, () => 7);
    // 203 bytes are 0xcb 0x01, 200 are 0xc8 0x01.
    expect([...out.take()]).toEqual([1, 2, 3, 4, 5, 0xcb, 0x01, 6, 0xc8, 0x01, ...sevens, 8]);
  });

  it("may be large", () => {
    const out = new Bytes();
    const part = Array.from({ length: 1000 }, (_, i) => i % 251);
    for (let i = 0; i < 150; i++) {
      out.put([part]);
      out.putBytes(Uint8Array.from(part));
    }
    const bytes = out.take();
    expect(bytes.length).toBe(300_000);
    expect(bytes.every((byte, i) => byte === (i % 1000) % 251)).toBe(true);
  });

  it("names instructions and immediates", () => {
    expect(simd(0x0b)).toEqual([0xfd, 0x0b]);
    expect(simd(0x113)).toEqual([0xfd, 0x93, 0x02]);
    expect(() => simd(0x1000)).toThrow(RangeError);
    expect([immediate(0), immediate(127), immediate(128)]).toEqual([0, 127, [0x80, 1]]);
    expect(() => immediate(-1)).toThrow(RangeError);
    expect(() => immediate(0.5)).toThrow(RangeError);
  });

  it("holds floats and names", () => {
    expect(float32(1)).toEqual([0, 0, 0x80, 0x3f]);
    expect(float64(-0)).toEqual([0, 0, 0, 0, 0, 0, 0, 0x80]);
    expect(float32(Number.NaN).length).toBe(4);
    expect(text("añ")).toEqual([3, 0x61, 0xc3, 0xb1]);
  });
});
