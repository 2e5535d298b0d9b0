import { create } from "@moiety/backend-cpu";
import {
  type Backend,
  type FloatDType,
  type Shape,
  type Tensor,
  add,
  apply,
  leavesOf,
  moe,
  mul,
  randomKey,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { glu, sharedExpert } from "@moiety/experts";
import { switchBalance, totalLoss, zLoss } from "@moiety/losses";
import { mixtralRouter } from "@moiety/routers";
import { describe, expect, it } from "vitest";
import { Draw } from "./testing/draw.ts";
import { type Found, type Program, bounded, compareAll, run } from "./testing/measure.ts";
import { simulatedBackend, toF16 } from "./testing/simulated.ts";

const TOKENS = 12;
const sizes = {
  hiddenSize: 16,
  intermediateSize: 24,
  activation: "silu",
  initializerRange: 0.2,
} as const;
const layer = moe({
  router: mixtralRouter({
    hiddenSize: 16,
    numLocalExperts: 8,
    numExpertsPerTok: 2,
    initializerRange: 0.3,
  }),
  experts: glu({ ...sizes, experts: 8 }),
  shared: sharedExpert({ ...sizes, gated: true, merge: "add" }),
  losses: [switchBalance({ coefficient: 0.5 }), zLoss({ coefficient: 0.1 })],
});

/** A whole layer with its own routing: outputs, losses, and the gradients of all parameters. */
const program: Program = (backend: Backend, dtype: FloatDType, [x]) => {
  const { params, state } = layer.init(randomKey(1), { backend, dtype });
  const weights = Array.from({ length: (x as Tensor).size }, (_, at) => ((at * 7) % 13) / 8 - 0.75);
  const factors = backend.tensor(weights, { shape: (x as Tensor).shape, dtype });
  const differentiate = valueAndGrad((given: typeof params) => {
    const result = apply(layer, given, state, x as Tensor);
    const loss = add(sum(mul(result.output, factors)), totalLoss(result.losses));
    return { loss, aux: result.output };
  });
  const { loss, grads, aux } = differentiate(params);
  const gradients = leavesOf(grads).map(({ path, leaf }) => [path, leaf as Tensor] as const);
  return { loss, output: aux, ...Object.fromEntries(gradients) };
};

const inputs = [new Draw(5).floats([TOKENS, 16] satisfies Shape)];

/** For each row: its largest bound, as a share of the row's and of the tensor's largest value. */
function shares({ data, bounds, shape }: Found): { ofRow: number[]; ofTensor: number } {
  const width = shape.at(-1) ?? 1;
  const most = (values: ArrayLike<number>): number => Math.max(...Array.from(values, Math.abs));
  const ofRow: number[] = [];
  for (let start = 0; start < data.length; start += width) {
    const bound = most(bounds.subarray(start, start + width));
    // Rows of experts without tokens are 0, exactly.
    if (bound > 0) ofRow.push(bound / most(data.subarray(start, start + width)));
  }
  return { ofRow: ofRow.sort((x, y) => x - y), ofTensor: most(bounds) / most(data) };
}

describe("a whole layer, routed by itself", () => {
  it("has bounds that are narrow, hold for honest backends and catch sums in f16", async () => {
    const wanted = await bounded(inputs, program);
    const oracle = await create();
    const exact = await run(oracle, "f64", inputs, program);
    const honest = await run(oracle, "f32", inputs, program);
    const serial = simulatedBackend({ accumulate: Math.fround, noise: true });
    const noisy = compareAll(await run(serial, "f32", inputs, program), wanted);
    const half = simulatedBackend({ accumulate: toF16 });
    const coarse = compareAll(await run(half, "f32", inputs, program), wanted);
    expect(Object.keys(wanted).length).toBe(7);
    for (const [name, found] of Object.entries(wanted)) {
      const largest = Math.max(...Array.from(found.data, Math.abs));
      const errors = Array.from(found.data, (value, at) =>
        Math.abs(value - (exact[name]?.data[at] ?? Number.NaN)),
      );
      expect({ name, error: Math.max(...errors) / largest }).toMatchObject({
        name,
        error: expect.closeTo(0, 11),
      });
      const { ofRow, ofTensor } = shares(found);
      const median = ofRow[Math.floor(ofRow.length / 2)] ?? 0;
      const plain = compareAll({ [name]: honest[name] as Found }, wanted)[name];
      expect({ name, ...plain }).toMatchObject({ name, ok: true, ambiguous: 0 });
      expect({ name, ...noisy[name] }).toMatchObject({ name, ok: true, ambiguous: 0 });
      expect(coarse[name]?.ok).toBe(false);
      // The loss is a sum of terms that nearly cancel.
      if (name === "loss") continue;
      expect(ofTensor).toBeLessThan(1e-3);
      expect(median).toBeLessThan(1e-3);
    }
    for (const backend of [oracle, serial, half]) await backend.dispose();
  });
});
