import { type Backend, cast, fill, pad } from "@moiety/core";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

const ALL = Uint16Array.from({ length: 2 ** 16 }, (_, code) => code);

/** The value of a binary16 pattern, read from its fields. */
function binary16(code: number): number {
  const sign = code >> 15 ? -1 : 1;
  const exponent = (code >> 10) & 31;
  const fraction = code & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The value of a bfloat16 pattern: the float32 of which it is the upper half. */
function brain16(code: number): number {
  return new Float32Array(Uint32Array.of(code << 16).buffer)[0] ?? NaN;
}

const FORMATS = [
  ["f16", binary16, 0x7c00, 0x7e00],
  ["bf16", brain16, 0x7f80, 0x7fc0],
] as const;

describe.each(FORMATS)("%s", (dtype, valueOf, infinity, quiet) => {
  const codes = () => backend.tensor(ALL, { dtype });

  it.each(["f32", "f64"] as const)("keeps all 65536 patterns through %s", async (wide) => {
    const widened = cast(codes(), { dtype: wide });
    expect(await valuesOf(widened)).toEqual([...ALL].map(valueOf));
    const back = await valuesOf(cast(widened, { dtype }));
    expect(back).toEqual([...ALL].map((code) => (Number.isNaN(valueOf(code)) ? quiet : code)));
  });

  it("rounds to the nearest pattern, ties to the even one", async () => {
    const inputs: number[] = [];
    const expected: number[] = [];
    for (let code = 0; code + 1 < infinity; code += 1) {
      const low = valueOf(code);
      const high = valueOf(code + 1);
      const middle = (low + high) / 2;
      const step = (high - low) * 2 ** -20;
      inputs.push(middle - step, middle, middle + step, -middle);
      const even = code % 2 === 0 ? code : code + 1;
      expected.push(code, even, code + 1, 0x8000 | even);
    }
    expect(await valuesOf(cast(backend.tensor(inputs, { dtype: "f64" }), { dtype }))).toEqual(
      expected,
    );
  });

  it("goes to infinity from half a step beyond the largest number on", async () => {
    const largest = valueOf(infinity - 1);
    const half = (largest - valueOf(infinity - 2)) / 2;
    const x = [largest, largest + half * 0.999, largest + half, 1e300, Infinity, -1e300, NaN, -0];
    const out = cast(backend.tensor(x, { dtype: "f64" }), { dtype });
    const top = infinity - 1;
    expect(await valuesOf(out)).toEqual([
      top,
      top,
      infinity,
      infinity,
      infinity,
      0x8000 | infinity,
      quiet,
      0x8000,
    ]);
  });

  it("rounds a float64 once, not by way of float32", async () => {
    const step = valueOf(2) - valueOf(1);
    const one = dtype === "f16" ? 0x3c00 : 0x3f80;
    const gap = valueOf(one + 1) - 1;
    const x = [1 + gap / 2 + 2 ** -40, step / 2 + step * 2 ** -45];
    expect(await valuesOf(cast(backend.tensor(x, { dtype: "f64" }), { dtype }))).toEqual([
      one + 1,
      1,
    ]);
  });

  it("is what fill and pad store", async () => {
    const [code = 0] = await valuesOf(cast(backend.tensor([0.1], { dtype: "f64" }), { dtype }));
    expect(await valuesOf(fill(backend, { shape: [2], value: 0.1, dtype }))).toEqual([code, code]);
    const one = backend.tensor(Uint16Array.of(7), { dtype });
    expect(await valuesOf(pad(one, { before: [1], after: [1], value: 0.1 }))).toEqual([
      code,
      7,
      code,
    ]);
  });
});

describe("cast", () => {
  const DTYPES = ["f32", "f64", "i32", "u32", "bool", "u8"] as const;

  it("truncates and saturates from float to integer, NaN to 0", async () => {
    const x = [
      0,
      -0.9,
      0.9,
      -1.9,
      254.9,
      255.9,
      256,
      2 ** 31,
      -(2 ** 31) - 2,
      2 ** 32,
      1e30,
      -1e30,
      Infinity,
      -Infinity,
      NaN,
    ];
    const clamp = (low: number, high: number) =>
      x.map((value) =>
        Number.isNaN(value) ? 0 : Math.min(high, Math.max(low, Math.trunc(value))) + 0,
      );
    for (const dtype of ["f32", "f64"] as const) {
      const t = () => backend.tensor(dtype === "f32" ? x.map(Math.fround) : x, { dtype });
      expect(await valuesOf(cast(t(), { dtype: "i32" }))).toEqual(clamp(-(2 ** 31), 2 ** 31 - 1));
      expect(await valuesOf(cast(t(), { dtype: "u32" }))).toEqual(clamp(0, 2 ** 32 - 1));
      if (dtype === "f64")
        expect(await valuesOf(cast(t(), { dtype: "u8" }))).toEqual(clamp(0, 255));
      expect(await valuesOf(cast(t(), { dtype: "bool" }))).toEqual(
        x.map((value) => Number(Math.fround(value) !== 0)),
      );
    }
  });

  it("keeps the bits between i32 and u32, and saturates to u8", async () => {
    const signed = backend.tensor([-1, 5, -(2 ** 31)], { dtype: "i32" });
    const unsigned = cast(signed, { dtype: "u32" });
    expect(await valuesOf(unsigned)).toEqual([2 ** 32 - 1, 5, 2 ** 31]);
    expect(await valuesOf(cast(unsigned, { dtype: "i32" }))).toEqual([-1, 5, -(2 ** 31)]);
    expect(await valuesOf(cast(signed, { dtype: "u8" }))).toEqual([0, 5, 0]);
    expect(await valuesOf(cast(unsigned, { dtype: "u8" }))).toEqual([255, 5, 255]);
  });

  it.each(DTYPES.flatMap((from) => DTYPES.map((to) => [from, to] as const)))(
    "keeps 0 and 1 from %s to %s",
    async (from, to) => {
      const x = backend.tensor(
        Array.from({ length: 1100 }, (_, index) => index % 2),
        { dtype: from },
      );
      const out = cast(x, { dtype: to });
      expect(out.dtype).toBe(to);
      expect(await valuesOf(out)).toEqual(await valuesOf(x));
    },
  );

  it("rounds f64 to f32 and holds all integers in f64", async () => {
    const x = numbersOf(1, 2000);
    const narrow = cast(backend.tensor(x, { dtype: "f64" }), { dtype: "f32" });
    expect(await valuesOf(narrow)).toEqual(x.map(Math.fround));
    const words = backend.tensor([2 ** 32 - 1, 2 ** 24 + 1], { dtype: "u32" });
    expect(await valuesOf(cast(words, { dtype: "f64" }))).toEqual([2 ** 32 - 1, 2 ** 24 + 1]);
    expect(await valuesOf(cast(words, { dtype: "f32" }))).toEqual([2 ** 32, 2 ** 24]);
  });
});
