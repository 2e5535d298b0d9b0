import type { Backend, Tensor } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { biasController } from "@moiety/losses";
import { beforeEach, describe, expect, it } from "vitest";
import { biasControl } from "./bias-control.ts";

describe("biasControl", () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await createCpu();
  });
  const bias = (...values: number[]): Tensor => backend.tensor(values);
  const load = (...values: number[]): Tensor => backend.tensor(Int32Array.from(values));
  const control = biasControl<unknown>(biasController({ rate: 0.5 }));

  it("moves each layer's bias by its own load, and leaves the rest", async () => {
    const other = bias(9);
    const state = {
      layers: [
        { moe: { router: { selectionBias: bias(0, 0, 1) } } },
        {},
        { moe: { router: { selectionBias: bias(1, 1, 1), other } } },
      ],
      name: "kept",
    };
    const next = control(state, [load(4, 1, 1), load(1, 1, 1)]) as typeof state;
    const biases = next.layers.flatMap(({ moe }) => moe?.router.selectionBias ?? []);
    const read = await Promise.all(biases.map(async (tensor) => Array.from(await tensor.read())));
    expect(read).toEqual([
      [-0.5, 0.5, 1.5],
      [1, 1, 1],
    ]);
    expect(next.layers[2]?.moe?.router.other).toBe(other);
    expect(next.name).toBe("kept");
  });

  it("refuses a state that does not fit the loads", () => {
    const state = { layers: [{ router: { selectionBias: bias(0, 0) } }] };
    expect(() => control(state, [load(1, 1), load(1, 1)])).toThrow(
      /1 leaves selectionBias.*2 loads/,
    );
    expect(() => control(state, [])).toThrow(/1 leaves selectionBias.*0 loads/);
    expect(() => control({}, [])).toThrow(/0 leaves selectionBias/);
  });
});
