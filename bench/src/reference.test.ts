import createCpu from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { forward, measuredLayer, uploadWeights } from "./layer.ts";
import { errorOf, referenceOf } from "./reference.ts";
import { hostInput, hostWeights, stepOf } from "./weights.ts";

const sizes = { hidden: 24, intermediate: 40, experts: 6, topK: 2 };
const weights = hostWeights(sizes);
const input = hostInput(9, sizes.hidden);

describe("the reference", () => {
  it.each(["f32", "f16"] as const)("agrees with the oracle, weights in %s", async (storage) => {
    const backend = await createCpu();
    const params = await uploadWeights(backend, weights, storage);
    const x = backend.tensor(input, { shape: [9, sizes.hidden] });
    const output = (await forward(measuredLayer(sizes), params, x).read()) as Float32Array;
    const wanted = referenceOf(weights, sizes, input, 9);
    expect(wanted.tokens.length).toBeGreaterThan(5);
    expect(errorOf(wanted, output)).toBeLessThan(1e-6);
    const [token = 0] = wanted.tokens;
    output[token * sizes.hidden + 3] = Number.NaN;
    expect(errorOf(wanted, output)).toBe(Number.POSITIVE_INFINITY);
    output[token * sizes.hidden + 3] = 1;
    expect(errorOf(wanted, output)).toBeGreaterThan(0.01);
  });

  it("takes tokens from all over the batch", () => {
    const { tokens } = referenceOf(weights, sizes, hostInput(64, sizes.hidden), 8);
    expect(tokens.length).toBe(8);
    expect(tokens.at(-1)).toBeGreaterThan(48);
  });
});

describe("weights", () => {
  it("have a largest number of 127 steps in every row, the router's too", () => {
    for (const matrix of [weights.router, weights.gateUp, weights.down]) {
      const width = matrix.shape.at(-1) ?? 0;
      const rows = matrix.shape.slice(0, -1).reduce((product, size) => product * size, 1);
      for (let row = 0; row < rows; row++) {
        const values = Array.from({ length: width }, (_, column) =>
          matrix.at(row * width + column),
        );
        const whole = values.map((value) => value / stepOf(matrix));
        expect(whole.every(Number.isInteger)).toBe(true);
        expect(Math.max(...whole.map(Math.abs))).toBe(127);
      }
    }
  });

  it("go on differing beyond 2³² elements", () => {
    const { at } = weights.gateUp;
    const near = Array.from({ length: 100 }, (_, index) => at(index));
    expect(Array.from({ length: 100 }, (_, index) => at(2 ** 32 + index))).not.toEqual(near);
  });
});
