import { ConfigError, randomKey } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cosineGate,
  depthAveragedGate,
  dogeRouter,
  gemma4Router,
  mlpGate,
  normedGate,
  previousGate,
  productKeyGate,
} from "./index.ts";
import {
  backend,
  distance,
  drawn,
  f64,
  ranked,
  redrawn,
  rowsOf,
  softmaxOf,
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
const length = (row: readonly number[]): number => Math.sqrt(row.reduce((a, b) => a + b * b, 0));
const column = (rows: readonly (readonly number[])[], at: number): number[] =>
  rows.map((row) => row[at] as number);

describe("cosineGate", () => {
  it("is the cosine of a projection and a direction, times a factor with a ceiling", async () => {
    const gate = cosineGate({ ...sizes, projectionSize: 5 });
    const params = { ...redrawn(gate.init(key, f64Init), 3), temperature: f64([0.7], [1]) };
    const biases = await values(params.bias);
    const projected = times(await rowsOf(x), await rowsOf(params.weight)).map((row) =>
      row.map((value, at) => value + (biases[at] as number)),
    );
    const directions = await rowsOf(params.similarity);
    const cosines = projected.flatMap((row) =>
      Array.from({ length: EXPERTS }, (_, expert) => {
        const own = column(directions, expert);
        const dot = row.reduce((total, value, at) => total + value * (own[at] as number), 0);
        return dot / (length(row) * length(own));
      }),
    );
    for (const [temperature, factor] of [
      [0.7, Math.exp(0.7)],
      [9, 100],
    ] as const) {
      const own = { ...params, temperature: f64([temperature], [1]) };
      const { logits } = gate.forward(own, x, {});
      const wanted = cosines.map((value) => value * factor);
      expect(distance(await values(logits), wanted)).toBeLessThan(1e-11);
    }
  });

  it("starts from its temperature, and a token of zeros harms nothing", async () => {
    const gate = cosineGate({ ...sizes, initialTemperature: 0.25 });
    const params = gate.init(key, f64Init);
    expect(distance(await values(params.temperature), [Math.log(4)])).toBeLessThan(1e-12);
    const { logits } = gate.forward(params, f64(new Array(WIDTH).fill(0), [1, WIDTH]), {});
    expect(await values(logits)).toEqual([0, 0, 0, 0]);
  });
});

describe("normedGate", () => {
  it("norms its input, without a weight, and scales it", async () => {
    const gate = normedGate({ ...sizes, rmsNormEps: 1e-2 });
    const params = redrawn(gate.init(key, f64Init), 3);
    const scale = await values(params.scale);
    const normed = (await rowsOf(x)).map((row) => {
      const deviation = Math.sqrt(row.reduce((a, b) => a + b * b, 0) / WIDTH + 1e-2);
      return row.map(
        (value, at) => ((value / deviation) * (scale[at] as number)) / Math.sqrt(WIDTH),
      );
    });
    const wanted = times(normed, await rowsOf(params.weight)).flat();
    expect(distance(await values(gate.forward(params, x, {}).logits), wanted)).toBeLessThan(1e-12);
  });

  it("is in gemma4Router, whose weights have a factor of each expert", async () => {
    const router = gemma4Router({ hiddenSize: WIDTH, numExperts: EXPERTS, topKExperts: 2 });
    const start = router.init(key, f64Init).params;
    expect(await values(start.expertScale)).toEqual([1, 1, 1, 1]);
    expect(Object.keys(router.shapes)).toEqual(["weight", "scale", "expertScale"]);
    const plain = router.route(start, {}, x);
    const scaled = router.route({ ...start, expertScale: f64([2, 3, 5, 7], [4]) }, {}, x);
    const indices = await values(plain.indices);
    expect(await values(scaled.indices)).toEqual(indices);
    const weights = await values(plain.outputWeights);
    const wanted = weights.map(
      (value, at) => value * ([2, 3, 5, 7][indices[at] as number] as number),
    );
    expect(distance(await values(scaled.outputWeights), wanted)).toBeLessThan(1e-12);
  });
});

describe("productKeyGate", () => {
  const gate = productKeyGate(sizes);
  const params = { weight: drawn(5, [4, WIDTH]) };

  it("adds one key of each half", async () => {
    const products = times(await rowsOf(x), await rowsOf(params.weight));
    const wanted = products.flatMap(([a = 0, b = 0, c = 0, d = 0]) => [a + c, a + d, b + c, b + d]);
    expect(distance(await values(gate.forward(params, x, {}).logits), wanted)).toBeLessThan(1e-12);
  });

  it("takes the halves of other tokens in the published view", async () => {
    const view = productKeyGate({ ...sizes, halves: "view" });
    const flat = times(await rowsOf(x), await rowsOf(params.weight)).flat();
    const half = (row: number): number[] => flat.slice(row * 2, row * 2 + 2);
    const wanted = Array.from({ length: TOKENS }, (_, token) =>
      half(token).flatMap((a) => half(TOKENS + token).map((b) => a + b)),
    ).flat();
    expect(distance(await values(view.forward(params, x, {}).logits), wanted)).toBeLessThan(1e-12);
    const options = { hiddenSize: WIDTH, numExperts: 4, numExpertsPerTok: 2 };
    expect(dogeRouter(options).acrossTokens).toBe(true);
    expect(dogeRouter({ ...options, halves: "token" }).acrossTokens).toBe(false);
  });

  it("chooses what a search through the best of each half finds", async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.nat(),
      async (keys, seed) => {
        const k = 1 + (seed % (keys * keys));
        const router = dogeRouter({
          hiddenSize: WIDTH,
          numExperts: keys * keys,
          numExpertsPerTok: k,
          halves: "token",
        });
        const weight = drawn(seed, [2 * keys, WIDTH]);
        const routing = router.route({ weight }, {}, x);
        const [row = []] = times(await rowsOf(x), await rowsOf(weight));
        const best = (half: readonly number[]): number[] =>
          ranked(half).slice(0, Math.min(k, keys));
        const [first, second] = [row.slice(0, keys), row.slice(keys)];
        const pairs = best(first).flatMap((i) =>
          best(second).map((j) => ({
            expert: i * keys + j,
            sum: (first[i] as number) + (second[j] as number),
          })),
        );
        pairs.sort((a, b) => b.sum - a.sum || a.expert - b.expert);
        const chosen = pairs.slice(0, k);
        expect((await rowsOf(routing.indices))[0]).toEqual(chosen.map(({ expert }) => expert));
        const weights = softmaxOf(chosen.map(({ sum }) => sum));
        expect(distance((await rowsOf(routing.outputWeights))[0] ?? [], weights)).toBeLessThan(
          1e-9,
        );
      },
    );
    await fc.assert(property, { numRuns: 30 });
  });
});

describe("mlpGate", () => {
  it("runs its layers with the activation in between", async () => {
    const gate = mlpGate({ ...sizes, hiddenSizes: [5, 2], bias: true });
    const params = redrawn(gate.init(key, f64Init), 3);
    expect(params.layers.map(({ bias }) => bias?.shape)).toEqual([[5], [2], undefined]);
    let rows = await rowsOf(x);
    for (const [index, { weight, bias }] of params.layers.entries()) {
      const offsets = await values(bias);
      rows = times(rows, await rowsOf(weight)).map((row) =>
        row.map((value, at) => (index < 2 ? Math.tanh(value + (offsets[at] as number)) : value)),
      );
    }
    expect(distance(await values(gate.forward(params, x, {}).logits), rows.flat())).toBeLessThan(
      1e-12,
    );
    expect(mlpGate(sizes).shapes.layers.map(({ weight }) => weight)).toEqual([
      [32, 3],
      [4, 32],
    ]);
  });
});

describe("bad options of gates", () => {
  it.each<[string, () => unknown]>([
    ["projectionSize", () => cosineGate({ ...sizes, projectionSize: 0 })],
    ["initialTemperature", () => cosineGate({ ...sizes, initialTemperature: 0 })],
    ["minimumTemperature", () => cosineGate({ ...sizes, minimumTemperature: -1 })],
    ["rmsNormEps", () => normedGate({ ...sizes, rmsNormEps: 0 })],
    ["initializerRange", () => normedGate({ ...sizes, initializerRange: Number.NaN })],
    ["experts", () => productKeyGate({ ...sizes, experts: 6 })],
    ["halves", () => productKeyGate({ ...sizes, halves: "both" as never })],
    ["activation", () => mlpGate({ ...sizes, activation: "swish" as never })],
    ["hiddenSizes", () => mlpGate({ ...sizes, hiddenSizes: [2, 0] })],
    ["previousExperts", () => previousGate({ gate: mlpGate(sizes), previousExperts: 0 })],
    ["routerHiddenSize", () => depthAveragedGate({ ...sizes, routerHiddenSize: 1.5 })],
  ])("%s", (name, make) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });

  it("names parameters that are missing", () => {
    const gate = cosineGate(sizes);
    const { bias: _, ...rest } = gate.init(key, f64Init);
    expect(() => gate.forward(rest as never, x, {})).toThrow(/params\.bias/);
    const mlp = mlpGate(sizes);
    expect(() => mlp.forward({ layers: [] }, x, {})).toThrow(/params\.layers/);
  });
});
