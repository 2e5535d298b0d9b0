import { ConfigError, type RouteContext, randomKey, sum, valueAndGrad } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type ReinforceOptions, reinforceRouter } from "./index.ts";
import {
  distance,
  drawn,
  expectGradients,
  f64,
  ranked,
  redrawn,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";
import { backend } from "./testing/numbers.ts";

const EXPERTS = 4;
const TOKENS = 9;
const WIDTH = 3;
const base: ReinforceOptions = { hiddenSize: WIDTH, numExperts: EXPERTS, numExpertsPerTok: 2 };
const x = drawn(61, [TOKENS, WIDTH]);
const noise = drawn(62, [TOKENS, EXPERTS]);
const router = reinforceRouter(base);
const { params: initial } = router.init(randomKey(1), { backend, dtype: "f64" });
const params = redrawn(initial, 63);

describe("reinforceRouter", () => {
  it("draws by Gumbel noise in training and takes the best otherwise", async () => {
    const trained = router.route(params, {}, x, { training: true, noise });
    const noisy = await rowsOf(noise);
    const logits = await rowsOf(trained.logits);
    const wanted = logits.map((row, token) =>
      ranked(row.map((logit, expert) => logit + (noisy[token]?.[expert] ?? 0))).slice(0, 2),
    );
    expect(await rowsOf(trained.indices)).toEqual(wanted);
    const greedy = router.route(params, {}, x);
    expect(await rowsOf(greedy.indices)).toEqual(logits.map((row) => ranked(row).slice(0, 2)));
    expect(await values(greedy.outputWeights)).toEqual(new Array(TOKENS * 2).fill(0.5));
  });

  it("carries the baseline x · vᵀ + c, which starts from 0 and sends no gradient into x", async () => {
    const [head = []] = await rowsOf(params.baseline ?? x);
    const [offset = 0] = await values(params.baselineBias);
    const wanted = (await rowsOf(x)).map((row) =>
      row.reduce((total, value, at) => total + value * (head[at] ?? 0), offset),
    );
    const { carry } = router.route(params, {}, x);
    expect(distance(await values(carry?.["reinforceBaseline"]), wanted)).toBeLessThan(1e-14);
    expect(await values(initial.baseline)).toEqual([0, 0, 0]);
    const { grads } = valueAndGrad((leaves: { x: typeof x; params: typeof params }) => {
      const routing = router.route(leaves.params, {}, leaves.x);
      return sum(routing.carry?.["reinforceBaseline"] ?? routing.logits);
    })({ x, params });
    expect(grads.x).toBeNull();
    expect(await values(grads.params.baselineBias ?? null)).toEqual([TOKENS]);
  });

  it("says the shape of every leaf, with and without a baseline", () => {
    expect(router.shapes).toEqual({
      weight: [EXPERTS, WIDTH],
      baseline: [1, WIDTH],
      baselineBias: [1],
    });
    const plain = reinforceRouter({ ...base, baseline: false });
    expect(plain.shapes).toEqual({ weight: [EXPERTS, WIDTH] });
    expect(plain.route({ weight: params.weight }, {}, x).carry).toBeUndefined();
    expect(() => plain.route(params, {}, x)).toThrow(/params\.baseline/);
  });

  it("has the softmax as weights where asked to, with its gradient", async () => {
    const own = reinforceRouter({ ...base, baseline: false, weight: "probability" });
    const routing = own.route({ weight: params.weight }, {}, x);
    const shares = (await rowsOf(routing.logits)).map(softmaxOf);
    const wanted = (await rowsOf(routing.indices)).flatMap((row, token) =>
      row.map((id) => shares[token]?.[id] ?? 0),
    );
    expect(distance(await values(routing.outputWeights), wanted)).toBeLessThan(1e-14);
    await expectGradients({ weight: params.weight }, (leaves) => own.route(leaves, {}, x));
  });

  it("refuses what makes no sense, and training without a key", () => {
    for (const [name, changed] of [
      ["weight", { weight: "none" }],
      ["topK", { numExpertsPerTok: 5 }],
      ["initializerRange", { initializerRange: -1 }],
    ] as const) {
      const make = (): unknown => reinforceRouter({ ...base, ...changed } as ReinforceOptions);
      expect(make).toThrow(ConfigError);
      expect(make).toThrow(expect.objectContaining({ key: name }));
    }
    const context: RouteContext = { training: true };
    expect(() => router.route(params, {}, x, context)).toThrow(
      expect.objectContaining({ key: "context.key" }),
    );
    expect(() => router.route({ weight: f64([0], [1, 1]) }, {}, x)).toThrow(/params\.baseline/);
  });
});
