import { type RouteContext, ShapeError, randomKey } from "@moiety/core";
import { describe, expect, it } from "vitest";
import {
  type StagedRouter,
  cosineRouter,
  depthAveragedGate,
  dogeRouter,
  gemma4Router,
  mlpGate,
  previousGate,
  productKeyGate,
  stagedRouter,
  zayaRouter,
} from "./index.ts";
import {
  backend,
  distance,
  drawn,
  expectGradients,
  f64,
  geluOf,
  redrawn,
  rowsOf,
  times,
  values,
} from "./testing/numbers.ts";

const WIDTH = 3;
const EXPERTS = 4;
const TOKENS = 4;
const x = drawn(1, [TOKENS, WIDTH]);
const key = randomKey(9);
const f64Init = { backend, dtype: "f64" } as const;
const sizes = { experts: EXPERTS, inputSize: WIDTH };

describe("previousGate", () => {
  const inner = productKeyGate(sizes);

  it("adds a map of the earlier layer's logits, and carries its own", async () => {
    const gate = previousGate({ gate: inner });
    const params = redrawn(gate.init(key, f64Init), 3);
    const previous = { logits: drawn(8, [TOKENS, EXPERTS]) };
    const { logits, carry } = gate.forward(params, x, { previous });
    const direct = await rowsOf(inner.forward({ weight: params.weight }, x, {}).logits);
    const mapped = times(await rowsOf(previous.logits), await rowsOf(params.residual as never));
    const wanted = direct.flatMap((row, t) =>
      row.map((value, e) => value + (mapped[t]?.[e] as number)),
    );
    expect(distance(await values(logits), wanted)).toBeLessThan(1e-12);
    expect(carry?.["logits"]).toBe(logits);
  });

  it("needs no earlier layer in the first, and one elsewhere", () => {
    const first = previousGate({ gate: inner, first: true });
    expect(Object.keys(first.shapes)).toEqual(["weight"]);
    expect(first.forward(first.init(key, f64Init), x, {}).carry).toBeDefined();
    const later = previousGate({ gate: inner });
    const params = later.init(key, f64Init);
    expect(() => later.forward(params, x, {})).toThrow(/context\.previous\.logits/);
    const narrow = { previous: { logits: drawn(8, [TOKENS, 2]) } };
    expect(() => later.forward(params, x, narrow)).toThrow(ShapeError);
  });
});

describe("depthAveragedGate", () => {
  const R = 3;
  const options = { ...sizes, routerHiddenSize: R };

  it("adds the scaled state of the layer before, and carries its own", async () => {
    const gate = depthAveragedGate(options);
    const params = redrawn(gate.init(key, f64Init), 20);
    const previous = { routerState: drawn(8, [TOKENS, R]) };
    const { logits, carry } = gate.forward(params, x, { previous });
    const linear = async (rows: number[][], weight: never, bias: never): Promise<number[][]> => {
      const offsets = await values(bias);
      return times(rows, await rowsOf(weight)).map((row) =>
        row.map((value, at) => value + (offsets[at] as number)),
      );
    };
    const scale = await values(params.stateScale);
    const before = await rowsOf(previous.routerState);
    const own = await linear(await rowsOf(x), params.downWeight as never, params.downBias as never);
    const state = own.map((row, t) =>
      row.map((value, at) => value + (before[t]?.[at] as number) * (scale[at] as number)),
    );
    expect(distance(await values(carry?.["routerState"]), state.flat())).toBeLessThan(1e-12);
    const norm = await values(params.norm);
    const normed = state.map((row) => {
      const deviation = Math.sqrt(row.reduce((a, b) => a + b * b, 0) / R + 1e-5);
      return row.map((value, at) => (value / deviation) * (norm[at] as number));
    });
    const act = (rows: number[][]): number[][] => rows.map((row) => row.map(geluOf));
    const first = act(await linear(normed, params.firstWeight as never, params.firstBias as never));
    const second = act(
      await linear(first, params.secondWeight as never, params.secondBias as never),
    );
    const wanted = times(second, await rowsOf(params.outWeight)).flat();
    expect(distance(await values(logits), wanted)).toBeLessThan(1e-10);
  });

  it("has no scale in the first layer, and needs a state elsewhere", () => {
    const first = depthAveragedGate({ ...options, first: true });
    expect(first.shapes.stateScale).toBeUndefined();
    expect(() => first.forward(first.init(key, f64Init), x, {})).not.toThrow();
    const later = depthAveragedGate(options);
    expect(() => later.forward(later.init(key, f64Init), x, {})).toThrow(/routerState/);
  });

  it("is in zayaRouter, whose skip class starts from bias −1 and weighs nothing", async () => {
    const router = zayaRouter({
      hiddenSize: WIDTH,
      numExperts: EXPERTS,
      numExpertsPerTok: 2,
      routerHiddenSize: R,
      first: true,
    });
    const { params, state } = router.init(key, f64Init);
    expect(router.experts).toBe(EXPERTS + 1);
    expect(await values(state.selectionBias)).toEqual([0, 0, 0, 0, -1]);
    const own = redrawn(params, 3);
    const skipping = { selectionBias: f64([0, 0, 0, 0, 1], [5]) };
    const routing = router.route(own, skipping, x);
    const indices = await rowsOf(routing.indices);
    const weights = await rowsOf(routing.outputWeights);
    const scores = await rowsOf(routing.scores);
    for (const [token, row] of indices.entries()) {
      expect(row[0]).toBe(EXPERTS);
      expect(weights[token]?.[0]).toBe(0);
      expect(weights[token]?.[1]).toBe(scores[token]?.[row[1] as number]);
    }
  });
});

describe("gradients of gates", () => {
  const spec = { experts: EXPERTS, topK: 2, score: "sigmoid", renormalize: {} } as const;
  const previous = { logits: drawn(8, [TOKENS, EXPERTS]), routerState: drawn(9, [TOKENS, 2]) };
  const check =
    <Params extends object>(router: StagedRouter<Params>): (() => Promise<void>) =>
    () => {
      const params = redrawn(router.init(key, f64Init).params, 40);
      return expectGradients(params, (own) => router.route(own, {}, x, { previous }));
    };
  const common = { hiddenSize: WIDTH, numExperts: 4 };
  const mlp = { ...sizes, hiddenSizes: [3] };
  const averaged = depthAveragedGate({ ...sizes, routerHiddenSize: 2 });

  it.each<[string, () => Promise<void>]>([
    ["cosine", check(cosineRouter({ ...common, numExpertsPerTok: 2, projectionSize: 4 }))],
    ["normed", check(gemma4Router({ ...common, topKExperts: 2 }))],
    ["product key", check(dogeRouter({ ...common, numExpertsPerTok: 2 }))],
    ["mlp", check(stagedRouter({ gate: mlpGate({ ...mlp, bias: true }), spec }))],
    ["gelu mlp", check(stagedRouter({ gate: mlpGate({ ...mlp, activation: "gelu" }), spec }))],
    [
      "previous",
      check(stagedRouter({ gate: previousGate({ gate: productKeyGate(sizes) }), spec })),
    ],
    ["depth averaged", check(stagedRouter({ gate: averaged, spec }))],
  ])("agree with central differences: %s", async (_, run) => {
    await expect(run()).resolves.toBeUndefined();
  });

  it("reach the layer before through what it carried", async () => {
    const gate = previousGate({ gate: productKeyGate(sizes) });
    const first = stagedRouter({
      gate: previousGate({ gate: productKeyGate(sizes), first: true }),
      spec,
    });
    const second = stagedRouter({ gate, spec });
    const later = redrawn(second.init(key, f64Init).params, 3);
    await expectGradients(redrawn(first.init(key, f64Init).params, 50), (own) => {
      const { carry } = first.route(own, {}, x);
      const context: RouteContext = { previous: carry };
      return second.route(later, {}, x, context);
    });
  });
});
