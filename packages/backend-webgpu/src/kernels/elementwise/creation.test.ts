import { type DType, cast, fill, iota } from "@moiety/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";
import { halfBits, wordOf } from "./creation.ts";

const gpu = await requireWebGpu();

describe("halfBits", () => {
  it.each([
    [0, 0x0000, 0x0000],
    [-0, 0x8000, 0x8000],
    [1, 0x3c00, 0x3f80],
    [-2, 0xc000, 0xc000],
    [65_504, 0x7bff, 0x4780],
    [65_520, 0x7c00, 0x4780],
    [1e300, 0x7c00, 0x7f80],
    [Infinity, 0x7c00, 0x7f80],
    [-Infinity, 0xfc00, 0xff80],
    [Number.NaN, 0x7e00, 0x7fc0],
    [2 ** -24, 0x0001, 0x3380],
    [2 ** -25, 0x0000, 0x3300],
    [3 * 2 ** -25, 0x0002, 0x33c0],
    [1 + 2 ** -11, 0x3c00, 0x3f80],
    [1 + 3 * 2 ** -11, 0x3c02, 0x3f80],
    [1 + 2 ** -8, 0x3c04, 0x3f80],
    [1 + 3 * 2 ** -8, 0x3c0c, 0x3f82],
    [2 - 2 ** -52, 0x4000, 0x4000],
    [5e-324, 0x0000, 0x0000],
    [3.4e38, 0x7c00, 0x7f80],
  ])("of %d", (value, f16, bf16) => {
    expect(halfBits(value, "f16")).toBe(f16);
    expect(halfBits(value, "bf16")).toBe(bf16);
  });

  it("of a half float's own value is that half float", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0x7bff }), (bits) => {
        const [exponent, fraction] = [bits >> 10, bits & 0x3ff];
        const value =
          exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
        expect(halfBits(value, "f16")).toBe(bits);
        expect(halfBits(-value, "f16")).toBe(bits | 0x8000);
      }),
    );
  });

  it("fills whole words", () => {
    expect(wordOf(1, "f16")).toBe(0x3c003c00);
    expect(wordOf(7, "u8")).toBe(0x07070707);
    expect(wordOf(-1, "i32")).toBe(0xffffffff);
    expect(wordOf(1, "f32")).toBe(0x3f800000);
  });
});

describe.skipIf(!gpu.available)("creation", () => {
  let pairs: readonly Pair[];
  beforeAll(async () => {
    pairs = [await createPair(), await createPair({ segmentBytes: 256, limits: "default" })];
  });
  const checkAll: Pair["agree"] = async (program, tolerance) => {
    for (const { agree } of pairs) await agree(program, tolerance);
  };
  afterAll(async () => {
    await Promise.all(pairs.map((pair) => pair.dispose()));
  });

  const values: Readonly<Record<Exclude<DType, "f64">, readonly number[]>> = {
    f32: [0, -1.5, 0.1, 1e-42, Number.NaN, Number.POSITIVE_INFINITY],
    i32: [0, -(2 ** 31), 7],
    u32: [0, 2 ** 32 - 1],
    bool: [0, 1],
    f16: [0.1, -70_000, 1e-7],
    bf16: [0.1, -3.4e38, 1e-40],
    u8: [0, 255],
  };
  it.each(Object.keys(values) as (keyof typeof values)[])("fills %s", async (dtype) =>
    checkAll((backend) =>
      [[], [0], [1], [3], [2, 0, 3], [5, 7], [203]].flatMap((shape) =>
        values[dtype].map((value) => fill(backend, { shape, value, dtype })),
      ),
    ),
  );

  it("counts along any axis", async () =>
    checkAll((backend) =>
      (["f32", "i32", "u32"] as const).flatMap((dtype) => [
        ...[0, 1, 2].map((axis) => iota(backend, { shape: [3, 5, 7], axis, dtype })),
        iota(backend, { shape: [0, 3], axis: 1, dtype }),
        iota(backend, { shape: [1], axis: 0, dtype }),
        iota(backend, { shape: [1030], axis: 0, dtype }),
      ]),
    ));

  it("counts beyond one dimension of workgroups, exactly", async () => {
    const size = 65_536 * 256 + 3;
    const [{ gpu: backend } = { gpu: undefined }] = pairs;
    if (backend === undefined) expect.fail("no backend");
    const numbers = await cast(iota(backend, { shape: [size], axis: 0, dtype: "u32" }), {
      dtype: "i32",
    }).read();
    expect(numbers.findIndex((value, index) => value !== index)).toBe(-1);
  });
});
