import { type DType, cast, hostBits, randomKey } from "@moiety/core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { DTYPES, bitsTensor } from "../../testing/bits.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";

/** Floats at which something changes: ends of ranges, ties, subnormals of every format. */
const EDGES: readonly number[] = [
  0,
  1,
  0.5,
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
  1e5,
  2_147_483_520,
  2_147_483_648,
  2_147_483_904,
  4_294_967_040,
  4_294_967_296,
  1e10,
  3.4e38,
  3.39e38,
  Infinity,
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
  1 + 2 ** -8 + 2 ** -23,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  1 + 2 ** -11 + 2 ** -23,
];

/** Integers that two roundings would take to another number than one. */
const WHOLE: readonly number[] = [
  0,
  1,
  2,
  127,
  128,
  255,
  256,
  2047,
  2049,
  2051,
  65_503,
  65_519,
  65_520,
  65_536,
  2 ** 24 - 1,
  2 ** 24 + 1,
  2 ** 24 + 2 ** 16,
  2 ** 24 + 2 ** 16 + 1,
  2 ** 24 + 3 * 2 ** 16 - 1,
  2 ** 30 + 2 ** 22,
  2 ** 30 + 2 ** 22 + 1,
  2 ** 30 + 2 ** 22 - 1,
  2 ** 30 + 3 * 2 ** 22 - 1,
  2 ** 31 - 1,
];

const PAIRS = DTYPES.flatMap((from) => DTYPES.map((to) => [from, to] as const));

describe("cast", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 2 });
  });
  afterAll(() => pair.dispose());

  it.each(PAIRS)("%s to %s", async (from, to) => {
    for (const shape of [[], [0], [33], [17_000]]) {
      await pair.agree((backend) => cast(bitsTensor(backend, 5, shape, from), { dtype: to }), 0);
    }
  });

  it.each(DTYPES)("floats at the edges to %s", async (dtype) => {
    const values = Float32Array.from([...EDGES, ...EDGES.map((value) => -value)]);
    await pair.agree((backend) => cast(backend.tensor(values), { dtype }), 0);
  });

  it.each(DTYPES)("random bits of f32 to %s", async (dtype) => {
    const values = new Float32Array(hostBits(randomKey(6), 40_000).buffer);
    await pair.agree((backend) => cast(backend.tensor(values), { dtype }), 0);
  });

  it.each(DTYPES)("integers that f32 does not hold to %s", async (dtype) => {
    const signed = Int32Array.from([...WHOLE, ...WHOLE.map((value) => -value), -(2 ** 31)]);
    const unsigned = Uint32Array.from([...signed, 2 ** 32 - 1, 2 ** 31 + 2 ** 23 + 1]);
    await pair.agree(
      (backend) => [
        cast(backend.tensor(signed), { dtype }),
        cast(backend.tensor(unsigned), { dtype }),
      ],
      0,
    );
  });

  it.each(["f16", "bf16"] as const)("every pattern of %s", async (dtype) => {
    const patterns = Uint16Array.from({ length: 2 ** 16 }, (_, index) => index);
    const targets: readonly DType[] = ["f32", "f16", "bf16", "i32", "u8", "bool"];
    for (const target of targets) {
      await pair.agree(
        (backend) => cast(backend.tensor(patterns, { dtype }), { dtype: target }),
        0,
      );
    }
  });
});
