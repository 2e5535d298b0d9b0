import { type DType, cast, hostBits, randomKey, slice } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

const DTYPES: readonly DType[] = ["f32", "i32", "u32", "bool", "f16", "bf16", "u8"];

/** Floats at which something changes: ends of ranges, ties, subnormals of every format, NaN. */
const FLOATS: readonly number[] = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  0.99999994,
  1.5,
  2.5,
  254.9,
  255,
  255.5,
  256,
  65_503,
  65_504,
  65_519.996,
  65_520,
  -65_520,
  1e5,
  2_147_483_520,
  2_147_483_648,
  -2_147_483_648,
  -2_147_483_904,
  4_294_967_040,
  4_294_967_296,
  1e10,
  -1e10,
  3.4e38,
  -3.4e38,
  3.39e38,
  Infinity,
  -Infinity,
  NaN,
  2 ** -14,
  2 ** -24,
  2 ** -25,
  2 ** -25 * 1.0000001,
  3 * 2 ** -25,
  2 ** -26,
  6.1e-5,
  6.097555e-5,
  2 ** -126,
  2 ** -127,
  2 ** -133,
  2 ** -134,
  3 * 2 ** -134,
  2 ** -149,
  1 + 2 ** -8,
  1 + 3 * 2 ** -8,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  1 + 2 ** -11 + 2 ** -23,
  2049,
  2051,
  257,
  259,
  16_777_216,
];

/** Whole numbers whose rounding to f32 and bf16 is a tie, or only nearly one. */
const WHOLE: readonly number[] = [
  0,
  1,
  2,
  127,
  128,
  255,
  256,
  257,
  259,
  2049,
  65_519,
  65_520,
  16_777_217,
  16_777_219,
  33_554_435,
  2 ** 30 + 2 ** 22,
  2 ** 30 + 2 ** 22 + 1,
  2 ** 30 + 3 * 2 ** 22,
  2 ** 31 - 1,
  2 ** 31 - 64,
];

function bitsOf(dtype: DType): Uint32Array | Uint16Array | Uint8Array | Float32Array | Int32Array {
  const random = hostBits(randomKey(11), 2000);
  switch (dtype) {
    case "f32": {
      const words = new Uint32Array(FLOATS.length + random.length);
      words.set(new Uint32Array(Float32Array.from(FLOATS).buffer));
      words.set(random, FLOATS.length);
      return new Float32Array(words.buffer);
    }
    case "i32":
      return Int32Array.from([...WHOLE, ...WHOLE.map((value) => -value), -(2 ** 31), ...random]);
    case "u32":
      return Uint32Array.from([...WHOLE, 2 ** 32 - 1, 2 ** 32 - 128, 2 ** 31, ...random]);
    case "bool":
      return Uint32Array.from(random, (word) => word & 1);
    case "u8":
      return Uint8Array.from({ length: 259 }, (_, index) => index);
    default:
      // Every bit pattern, and three more so that the last word is not full.
      return Uint16Array.from({ length: 65_539 }, (_, index) => index);
  }
}

describe.skipIf(!gpu.available)("cast", () => {
  let pair: Pair;
  let segmented: Pair;
  const check: Pair["agree"] = (program, tolerance) => pair.agree(program, tolerance);
  const checkSegmented: Pair["agree"] = (program, tolerance) => segmented.agree(program, tolerance);
  beforeAll(async () => {
    pair = await createPair();
    segmented = await createPair({ segmentBytes: 256, limits: "default" });
  });
  afterAll(async () => {
    await pair.dispose();
    await segmented.dispose();
  });

  it.each(DTYPES)("%s to every dtype, to the bit", async (from) => {
    for (const to of DTYPES) {
      await check(
        (backend) => cast(backend.tensor(bitsOf(from), { dtype: from }), { dtype: to }),
        0,
      ).catch((cause: unknown) => expect.fail(`${from} to ${to}: ${String(cause)}`));
    }
  });

  it.each(DTYPES)("%s to every dtype, in segments and odd lengths", async (from) => {
    for (const to of DTYPES) {
      const values = bitsOf(from).slice(0, 203);
      await checkSegmented((backend) => {
        const x = backend.tensor(values, { dtype: from });
        const short = [0, 1, 2, 3, 5, 127].map((size) => slice(x, { starts: [0], sizes: [size] }));
        return [x, ...short].map((tensor) => cast(tensor, { dtype: to }));
      }, 0);
    }
  });

  it("keeps subnormal f32 on their way through f16 and back", async () => {
    const halves = Uint16Array.from({ length: 1024 }, (_, index) => index);
    const x = pair.gpu.tensor(halves, { dtype: "f16" });
    const back = cast(cast(x, { dtype: "f32" }), { dtype: "f16" });
    expect([...(await back.read())]).toEqual([...halves]);
  });
});
