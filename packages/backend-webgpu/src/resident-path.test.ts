import { apply, moe, mul, randomKey, sum, valueAndGrad } from "@moiety/core";
import { glu } from "@moiety/experts";
import { mixtralRouter } from "@moiety/routers";
import { afterAll, describe, expect, it } from "vitest";
import { create, driverOf } from "./index.ts";
import { requireWebGpu } from "./testing/adapter.ts";

const gpu = await requireWebGpu();

/** Dispatches that a layer may take for at most 8 tokens. */
const MOST_DISPATCHES = 5;

describe.skipIf(!gpu.available)("a MoE layer", async () => {
  const backend = await create();
  const driver = driverOf(backend);
  const layer = moe({
    router: mixtralRouter({ hiddenSize: 16, numLocalExperts: 4, numExpertsPerTok: 2 }),
    experts: glu({ experts: 4, hiddenSize: 16, intermediateSize: 24, activation: "silu" }),
  });
  const { params, state } = layer.init(randomKey(1), { backend });
  const tokens = (count: number) =>
    backend.tensor(new Float32Array(count * 16).fill(0.1), { shape: [count, 16] });
  afterAll(() => backend.dispose());

  it.each([1, 8])("takes few dispatches for %i tokens", async (count) => {
    const x = tokens(count);
    const before = driver?.counters().dispatches ?? 0;
    const output = backend.scope(() => layer.mix(params, state, x, layer.route(params, state, x)));
    await backend.sync();
    expect((driver?.counters().dispatches ?? Infinity) - before).toBeLessThanOrEqual(
      MOST_DISPATCHES,
    );
    expect(Number.isFinite((await output.read())[0])).toBe(true);
  });

  it("reads nothing back, forward and backward", async () => {
    const before = driver?.counters().maps;
    const x = tokens(33);
    const { output } = apply(layer, params, state, x);
    const { grads } = valueAndGrad((given: typeof params) => {
      const y = apply(layer, given, state, x).output;
      return sum(mul(y, y));
    })(params);
    await backend.sync();
    expect(driver?.counters().maps).toBe(before);
    await Promise.all([output.read(), grads.router.weight?.read()]);
    expect(driver?.counters().maps).toBe((before ?? 0) + 2);
  });
});
