import { normal, randomBits, randomKey, uniform } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair } from "../../testing/oracle.ts";

const SHAPES = [[], [0], [1], [7], [3, 5], [100_003]];
const KEYS = [randomKey(0), randomKey(2 ** 40 + 7), [2 ** 32 - 1, 2 ** 31] as const];

describe("random numbers", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 2 });
  });
  afterAll(() => pair.dispose());

  it.each(SHAPES)("are those of the oracle: %j %j", async (...shape) => {
    for (const key of KEYS) {
      await pair.agree(
        (backend) => [
          randomBits(backend, { key, shape }),
          uniform(backend, { key, shape, dtype: "f32" }),
        ],
        0,
      );
    }
  });

  it("are normal ones to a few units, in the middle and far out", async () => {
    const shape = [2 ** 20];
    const draw = (backend: Pair["wasm"]): ReturnType<typeof normal> =>
      normal(backend, { key: randomKey(11), shape, dtype: "f32" });
    const [got, wanted] = [await draw(pair.wasm).read(), await draw(pair.cpu).read()];
    let worst = 0;
    for (const [index, value] of got.entries()) {
      const want = wanted[index] ?? 0;
      worst = Math.max(worst, Math.abs(value - want) / Math.abs(want));
    }
    expect(worst).toBeLessThan(6e-7);
    expect(Math.max(...got.slice(0, 1000))).toBeGreaterThan(2.5);
  });
});
