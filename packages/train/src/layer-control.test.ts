import { type Backend, ConfigError, type Routing, type Tensor, routeTokens } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { quantileController, reluController } from "@moiety/losses";
import { expertChoiceRouter, overflowController, thresholdController } from "@moiety/routers";
import { beforeEach, describe, expect, it } from "vitest";
import { layerControl } from "./layer-control.ts";
import { quantileControl } from "./quantile-control.ts";
import { sparsityControl } from "./sparsity-control.ts";

let backend: Backend;
beforeEach(async () => {
  backend = await createCpu();
});

const f64 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor =>
  backend.tensor([...values], { shape, dtype: "f64" });
const load = (...values: number[]): Tensor => backend.tensor(Int32Array.from(values));
const read = async (tensor: Tensor): Promise<number[]> => Array.from(await tensor.read(), Number);
const mask = (...values: boolean[]): Tensor =>
  backend.tensor(values, { shape: [values.length], dtype: "bool" });

function routing(logits: readonly number[], padding?: Tensor): Routing {
  const spec = { experts: 2, topK: 1, score: "softmax" } as const;
  return routeTokens(spec, { logits: f64(logits, [logits.length / 2, 2]) }, { mask: padding });
}

describe("layerControl", () => {
  it("hands each leaf its layer's load and routings, and keeps what the update leaves out", async () => {
    const seen: number[] = [];
    const control = layerControl<unknown>("mark", ({ mark }, step) => {
      seen.push(step.routings.length);
      return { mark: mark && step.load };
    });
    const other = f64([9]);
    const state = { a: [{ mark: f64([0]), other }], b: { mark: f64([1]) }, name: "kept" };
    const routings = [[routing([1, 2])], [routing([1, 2]), routing([2, 1])]];
    const next = control(state, [load(5), load(6)], { routings, tokens: 3 }) as typeof state;
    expect(seen).toEqual([1, 2]);
    expect(await read(next.a[0]?.mark ?? other)).toEqual([5]);
    expect(await read(next.b.mark)).toEqual([6]);
    expect(next.a[0]?.other).toBe(other);
    expect(next.name).toBe("kept");
  });

  it("refuses loads and routings that do not fit, by name", () => {
    const control = layerControl<unknown>("mark", () => ({}));
    const state = { mark: f64([0]) };
    expect(() => control(state, [load(1), load(1)])).toThrow(/1 leaves mark.*2 loads/);
    expect(() => control({}, [])).toThrow(ConfigError);
    const observed = { routings: [[], []], tokens: undefined };
    expect(() => control(state, [load(1)], observed)).toThrow(/2 layers/);
  });

  it("drives the thresholds of routers as their controllers alone do", async () => {
    const router = expertChoiceRouter({ hiddenSize: 2, numExperts: 2, mode: "threshold" });
    const x = f64([1, 2, -1, 0.5, 0.25, -2], [3, 2]);
    const params = { weight: f64([1, 0, 0, 1], [2, 2]) };
    const chosen = router.route(params, {}, x, { training: true });
    const thresholds = thresholdController({ momentum: 0.5 });
    const state = { router: { thresholds: f64([0.5, 0.5]) } };
    const control = layerControl<typeof state>("thresholds", (own, { routings }) =>
      thresholds.update(own, routings),
    );
    const next = control(state, [load(3, 3)], { routings: [[chosen]], tokens: 3 });
    const alone = thresholds.update(state.router, [chosen]).thresholds;
    expect(await read(next.router.thresholds)).toEqual(await read(alone ?? f64([])));
    expect(await read(next.router.thresholds)).not.toEqual([0.5, 0.5]);

    const overflow = overflowController({ momentum: 0.5 });
    const other = { router: { overflowThreshold: f64([0.5, 0.5]) } };
    const routed = routing([1, 2, 3, 1]);
    const moved = layerControl<typeof other>("overflowThreshold", (own, { routings }) =>
      overflow.update(own, routings),
    )(other, [load(1, 1)], { routings: [[routed]], tokens: 2 });
    const wanted = overflow.update(other.router, [routed]).overflowThreshold;
    expect(await read(moved.router.overflowThreshold)).toEqual(await read(wanted ?? f64([])));
  });
});

describe("quantileControl", () => {
  it("sets each bias by the estimates of all micro-batches", async () => {
    const controller = quantileController({ momentum: 0.25 });
    const state = { router: { selectionBias: f64([0.5, -0.5]) } };
    const parts = [routing([1, 2, 0, 3]), routing([0, 0.5, 2, 1])];
    const next = quantileControl<typeof state>(controller)(state, [load(1, 3)], {
      routings: [parts],
      tokens: 4,
    });
    const estimates = parts.map((part) => controller.estimate(state.router, part));
    const wanted = controller.update(state.router, estimates).selectionBias;
    expect(await read(next.router.selectionBias)).toEqual(await read(wanted));
    expect(await read(wanted)).not.toEqual([0.5, -0.5]);
  });

  it("needs routings", () => {
    const state = { router: { selectionBias: f64([0, 0]) } };
    const control = quantileControl<typeof state>(quantileController());
    expect(() => control(state, [load(1, 1)])).toThrow(/estimate/);
  });
});

describe("sparsityControl", () => {
  it("counts the tokens of all micro-batches, padding left out", async () => {
    const control = sparsityControl<{ readonly sparsityCoefficient: Tensor }>(
      reluController({ experts: 2, topK: 1, multiplier: 2 }),
    );
    const state = { sparsityCoefficient: f64([1], []) };
    const routings = [
      [routing([1, 2, 3, 4]), routing([1, 2, 3, 4, 5, 6], mask(true, false, true))],
    ];
    // Four tokens count: one expert for each is what is wanted.
    for (const [active, factor] of [
      [3, 0.5],
      [4, 1],
      [5, 2],
    ] as const) {
      const next = control(state, [load(active, 0)], { routings, tokens: 5 });
      expect(await read(next.sparsityCoefficient)).toEqual([factor]);
    }
  });

  it("needs routings", () => {
    const control = sparsityControl<unknown>(reluController({ experts: 2, topK: 1 }));
    expect(() => control({ sparsityCoefficient: f64([1], []) }, [load(1, 1)])).toThrow(/routings/);
  });
});
