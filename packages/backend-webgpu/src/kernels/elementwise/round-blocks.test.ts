import { type Backend, type Tensor, roundBlocks } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { pairChecks, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

/** Values of one block and of another, which is normal numbers. */
function blocksOf(backend: Backend, values: readonly number[]): Tensor {
  const data = new Float32Array(64).fill(0.25, 32);
  data.set(values);
  return backend.tensor(data, { shape: [2, 32] });
}

describe.skipIf(!gpu.available)("roundBlocks", () => {
  const pairs = pairChecks(256);

  it.each([[[32]], [[7, 96]], [[2, 3, 64]], [[0, 32]], [[4, 0]], [[40, 128]]] as const)(
    "agrees on %j",
    async (shape) => {
      expect(
        await pairs.checkBoth((backend) => roundBlocks(randomTensor(backend, 3, [...shape]))),
      ).toBeUndefined();
    },
  );

  it("rounds halves to even", async () => {
    const halves = Array.from({ length: 31 }, (_, place) => place - 15.5);
    const rounded = await roundBlocks(blocksOf(pairs.whole.gpu, [127, ...halves])).read();
    const wanted = halves.map((value) => 2 * Math.round(value / 2));
    for (const [place, value] of [127, ...wanted].entries()) {
      expect(rounded[place]).toBeCloseTo(value, 12);
    }
  });

  it.each([
    ["zeros", [0, 0, -0]],
    ["next to nothing", [1e-36, -3e-37, 5e-37]],
    ["the largest", [3e38, -1e38, 2e37]],
    ["NaN", [1, Number.NaN, 2]],
    ["an infinity", [1, Number.NEGATIVE_INFINITY, 2]],
  ])("takes %s as the oracle does", async (_, values) => {
    expect(await pairs.check((backend) => roundBlocks(blocksOf(backend, values)))).toBeUndefined();
  });

  it("has a kernel", () => {
    expect(pairs.whole.gpu.record()["roundBlocks"]?.decomposed).toBe(0);
  });
});
