import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  type RouteContext,
  ShapeError,
  Tensor,
  cast,
  type RandomKey,
  foldIn,
  hostNormal,
  hostUniform,
  loadOf,
  moe,
  mul,
  randomKey,
  splitKey,
  sum,
  takeAlong,
  topK,
  valueAndGrad,
} from "@moiety/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { gaussianNoise, learnedNoise } from "./noise.ts";
import {
  type LinearRouter,
  type LinearRouterOptions,
  type LinearRouterParams,
  linearRouter,
  noisyTopKRouter,
} from "./index.ts";

const backend = await create();
const f64 = (data: readonly number[], shape: readonly number[]): Tensor =>
  backend.tensor([...data], { shape, dtype: "f64" });
const values = async (tensor: Tensor | null | undefined): Promise<number[]> =>
  tensor ? [...(await tensor.read())] : [];
const draws = (seed: number, count: number): number[] => [...hostNormal(randomKey(seed), count)];

const EXPERTS = 4;
const WIDTH = 3;
const TOKENS = 5;
const base: LinearRouterOptions = {
  inputSize: WIDTH,
  spec: { experts: EXPERTS, topK: 2, score: "softmax" },
};
const x = f64(draws(1, TOKENS * WIDTH), [TOKENS, WIDTH]);
const key = randomKey(99);
const training: RouteContext = { training: true, key };

/** x · weightᵀ (+ bias), by plain loops. */
function linear(input: readonly number[], weight: readonly number[], bias: readonly number[] = []) {
  return Array.from({ length: (input.length / WIDTH) * EXPERTS }, (_, at) => {
    const [token, expert] = [Math.floor(at / EXPERTS), at % EXPERTS];
    let total = bias[expert] ?? 0;
    for (let i = 0; i < WIDTH; i++) {
      total += (input[token * WIDTH + i] as number) * (weight[expert * WIDTH + i] as number);
    }
    return total;
  });
}

/** The largest difference between two lists; ∞ where their lengths differ. */
function distance(found: readonly number[], wanted: readonly number[]): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  return Math.max(0, ...wanted.map((value, at) => Math.abs((found[at] as number) - value)));
}

function start(router: LinearRouter, seed = 3): ReturnType<LinearRouter["init"]> {
  return router.init(randomKey(seed), { backend, dtype: "f64" });
}

describe("linearRouter", () => {
  it("multiplies by the weight and runs the stages of its spec", async () => {
    const router = linearRouter({ ...base, linearBias: true });
    expect(router).toMatchObject({ experts: EXPERTS, inputSize: WIDTH, acrossTokens: false });
    const params = {
      weight: f64(draws(4, EXPERTS * WIDTH), [EXPERTS, WIDTH]),
      bias: f64([1, -1, 0.5, 0], [EXPERTS]),
    };
    const routing = router.route(params, {}, x);
    const wanted = linear(await values(x), await values(params.weight), await values(params.bias));
    expect(distance(await values(routing.logits), wanted)).toBeLessThan(1e-12);
    const [best, indices] = topK(routing.scores, undefined, { k: 2 });
    expect(await values(routing.indices)).toEqual(await values(indices));
    expect(await values(routing.outputWeights)).toEqual(await values(best));
    expect((await values(loadOf(routing))).reduce((a, b) => a + b)).toBe(TOKENS * 2);
  });

  it("limits the logits themselves where it is told to, for losses too", async () => {
    const capped = linearRouter({ ...base, logitSoftcap: 0.5 });
    const { params, state } = start(capped);
    const plain = linearRouter({ ...base, spec: { ...base.spec, softcap: 0.5 } });
    const wanted = plain.route(params, state, x);
    const found = capped.route(params, state, x);
    const limited = (await values(wanted.logits)).map((logit) => 0.5 * Math.tanh(logit / 0.5));
    expect(distance(await values(found.logits), limited)).toBeLessThan(1e-15);
    expect(distance(await values(found.scores), await values(wanted.scores))).toBeLessThan(1e-15);
    expect(await values(found.indices)).toEqual(await values(wanted.indices));
  });

  it("draws its weight on the host, and starts biases and noise from 0", async () => {
    const router = linearRouter({
      ...base,
      spec: { ...base.spec, bias: true },
      linearBias: true,
      noise: learnedNoise(),
      initializerRange: 0.5,
    });
    const { params, state } = router.init(randomKey(3), { backend });
    const wanted = Array.from(draws(3, EXPERTS * WIDTH), (draw) => Math.fround(draw * 0.5));
    expect(await values(params.weight)).toEqual(wanted);
    expect(params.weight.shape).toEqual([EXPERTS, WIDTH]);
    expect(await values(params.bias)).toEqual([0, 0, 0, 0]);
    expect(await values(params.noise)).toEqual(new Array(EXPERTS * WIDTH).fill(0));
    expect(await values(state.selectionBias)).toEqual([0, 0, 0, 0]);
    const small = linearRouter(base).init(randomKey(3), { backend });
    expect(
      distance(
        await values(small.params.weight),
        wanted.map((value) => value * 0.04),
      ),
    ).toBeLessThan(1e-8);
    expect(Object.keys(small.params)).toEqual(["weight"]);
    expect(small.state).toEqual({});
  });

  it("selects with the bias of its state and weighs without it", async () => {
    const router = linearRouter({ ...base, spec: { ...base.spec, score: "sigmoid", bias: true } });
    const { params } = start(router);
    const routing = router.route(params, { selectionBias: f64([0, 0, 9, 0], [EXPERTS]) }, x);
    const indices = await values(routing.indices);
    expect(indices.filter((_, at) => at % 2 === 0)).toEqual([2, 2, 2, 2, 2]);
    const weights = await values(takeAlong(routing.scores, routing.indices, { axis: 1 }));
    expect(await values(routing.outputWeights)).toEqual(weights);
  });

  it("routes in float32 at least, whatever the input is", () => {
    const router = linearRouter(base);
    const { params } = router.init(key, { backend });
    const half = cast(
      backend.tensor(new Float32Array(TOKENS * WIDTH), { shape: [TOKENS, WIDTH] }),
      {
        dtype: "f16",
      },
    );
    const low = { weight: cast(params.weight, { dtype: "bf16" }) };
    for (const own of [params, low]) {
      const routing = router.route(own, {}, half);
      expect([routing.logits.dtype, routing.outputWeights.dtype]).toEqual(["f32", "f32"]);
    }
    expect(router.route(start(router).params, {}, x).logits.dtype).toBe("f64");
  });

  it("takes no tokens at all", () => {
    const router = linearRouter({
      ...base,
      jitter: 0.1,
      noise: gaussianNoise(1),
    });
    const routing = router.route(start(router).params, {}, f64([], [0, WIDTH]), training);
    expect(routing.indices.shape).toEqual([0, 2]);
  });

  it("says whether tokens look at each other", () => {
    const capacity = { size: { factor: 1 }, per: "batch", order: "position" } as const;
    const dropping = linearRouter({ ...base, spec: { ...base.spec, capacity } });
    expect(dropping.acrossTokens).toBe(true);
    expect(linearRouter({ ...base, acrossTokens: true }).acrossTokens).toBe(true);
  });

  it("runs stages of one's own, with gradients", async () => {
    const router = linearRouter({
      ...base,
      stages: { score: (logits) => mul(logits, logits) },
    });
    const { params } = start(router);
    const step = valueAndGrad((p: LinearRouterParams) => sum(router.route(p, {}, x).scores));
    const { grads } = step(params);
    const logits = linear(await values(x), await values(params.weight));
    const input = await values(x);
    const wanted = Array.from({ length: EXPERTS * WIDTH }, (_, at) => {
      const [expert, i] = [Math.floor(at / WIDTH), at % WIDTH];
      let slope = 0;
      for (let t = 0; t < TOKENS; t++) {
        slope += 2 * (logits[t * EXPERTS + expert] as number) * (input[t * WIDTH + i] as number);
      }
      return slope;
    });
    expect(distance(await values(grads.weight), wanted)).toBeLessThan(1e-12);
  });

  it("fits a layer", () => {
    const bank = {
      experts: 3,
      inputSize: WIDTH,
      outputSize: WIDTH,
      init: () => ({ params: {}, state: {} }),
      forward: () => x,
    };
    expect(() => moe({ router: linearRouter(base), experts: bank })).toThrow(ConfigError);
    const layer = moe({ router: linearRouter(base), experts: { ...bank, experts: EXPERTS } });
    expect(layer.init(key, { backend }).params.router.weight.shape).toEqual([EXPERTS, WIDTH]);
  });
});

describe("jitter", () => {
  const router = linearRouter({ ...base, jitter: 0.1 });
  const { params } = start(router);

  it("multiplies the input by 1 ± ε in training, as the key says", async () => {
    const ones = f64(new Array(TOKENS * WIDTH).fill(1), [TOKENS, WIDTH]);
    // Each expert reads one input, so that logits show the factors.
    const weight = f64([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], [EXPERTS, WIDTH]);
    const logitsOf = async (context: RouteContext): Promise<number[]> =>
      values(router.route({ weight }, {}, ones, context).logits);
    const first = await logitsOf(training);
    const factors = first.filter((_, at) => at % EXPERTS < WIDTH);
    for (const factor of factors) expect(Math.abs(factor - 1)).toBeLessThanOrEqual(0.1);
    expect(new Set(factors).size).toBe(TOKENS * WIDTH);
    expect(await logitsOf(training)).toEqual(first);
    expect(await logitsOf({ training: true, key: foldIn(key, 1) })).not.toEqual(first);
  });

  it("does nothing outside training, with or without a key", async () => {
    const plain = await values(linearRouter(base).route(params, {}, x).logits);
    for (const context of [{}, { key }, { training: false, key }]) {
      expect(await values(router.route(params, {}, x, context).logits)).toEqual(plain);
    }
  });

  it("needs a key in training", () => {
    const route = (): unknown => router.route(params, {}, x, { training: true });
    expect(route).toThrow(ConfigError);
    expect(route).toThrow(expect.objectContaining({ key: "context.key" }));
  });
});

describe("noise", () => {
  const standard = draws(50, TOKENS * EXPERTS);
  const injected: RouteContext = { training: true, noise: f64(standard, [TOKENS, EXPERTS]) };

  it("adds the injected standard noise times its scale", async () => {
    const router = linearRouter({ ...base, noise: gaussianNoise(0.25) });
    const { params } = start(router);
    const clean = linear(await values(x), await values(params.weight));
    const routing = router.route(params, {}, x, injected);
    expect(
      distance(
        await values(routing.logits),
        clean.map((value, at) => value + 0.25 * (standard[at] as number)),
      ),
    ).toBeLessThan(1e-12);
    expect(distance(await values(routing.noise?.clean), clean)).toBeLessThan(1e-12);
    expect(await values(routing.noise?.scale)).toEqual(new Array(TOKENS * EXPERTS).fill(0.25));
    const evaluation = router.route(params, {}, x, { ...injected, training: false });
    expect(distance(await values(evaluation.logits), clean)).toBeLessThan(1e-12);
    expect(evaluation.noise).toBeUndefined();
  });

  it("learns its scale: softplus(x · Wₙᵀ) + 1e-2", async () => {
    const router = linearRouter({ ...base, noise: learnedNoise() });
    const params = {
      ...start(router).params,
      noise: f64(draws(7, EXPERTS * WIDTH), [EXPERTS, WIDTH]),
    };
    const clean = linear(await values(x), await values(params.weight));
    const scales = linear(await values(x), await values(params.noise)).map(
      (value) => Math.log1p(Math.exp(value)) + 1e-2,
    );
    const routing = router.route(params, {}, x, injected);
    expect(distance(await values(routing.noise?.scale), scales)).toBeLessThan(1e-12);
    expect(
      distance(
        await values(routing.logits),
        clean.map((value, at) => value + (standard[at] as number) * (scales[at] as number)),
      ),
    ).toBeLessThan(1e-12);
  });

  it("comes behind temperature and softcap, once", async () => {
    const spec = { ...base.spec, temperature: 2, softcap: 1.5 };
    const router = linearRouter({ ...base, spec, noise: gaussianNoise(1) });
    const { params } = start(router);
    const clean = linear(await values(x), await values(params.weight)).map(
      (value) => 1.5 * Math.tanh(value / 2 / 1.5),
    );
    const noisy = clean.map((value, at) => value + (standard[at] as number));
    const routing = router.route(params, {}, x, injected);
    expect(distance(await values(routing.logits), noisy)).toBeLessThan(1e-12);
    const peaks = noisy.map((value) => Math.exp(value));
    const shares = peaks.map((value, at) => {
      const row = at - (at % EXPERTS);
      return value / peaks.slice(row, row + EXPERTS).reduce((a, b) => a + b);
    });
    expect(distance(await values(routing.scores), shares)).toBeLessThan(1e-12);
  });

  it("is drawn by the key: normal, and the same every time", async () => {
    const router = linearRouter({ ...base, noise: gaussianNoise(2) });
    const weight = f64(new Array(EXPERTS * WIDTH).fill(0), [EXPERTS, WIDTH]);
    const many = f64(new Array(1000 * WIDTH).fill(0), [1000, WIDTH]);
    const noise = await values(router.route({ weight }, {}, many, training).logits);
    const mean = noise.reduce((a, b) => a + b) / noise.length;
    const variance = noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length;
    // Five standard errors of 4000 draws.
    expect(Math.abs(mean)).toBeLessThan((5 * 2) / Math.sqrt(4000));
    expect(Math.abs(variance / 4 - 1)).toBeLessThan(5 * Math.sqrt(2 / 4000));
    expect(await values(router.route({ weight }, {}, many, training).logits)).toEqual(noise);
    expect(() => router.route({ weight }, {}, many, { training: true })).toThrow(
      expect.objectContaining({ key: "context.key" }),
    );
  });

  it("shares no draw with jitter or with random dropping", async () => {
    const capacity = { size: { absolute: 1 }, per: "batch", order: "random" } as const;
    const router = linearRouter({ ...base, spec: { ...base.spec, topK: 1, capacity } });
    const params = { weight: f64(new Array(EXPERTS * WIDTH).fill(0), [EXPERTS, WIDTH]) };
    const first = (own: RandomKey): number => {
      const list = [...hostUniform(own, TOKENS)];
      return list.indexOf(Math.min(...list));
    };
    let told = 0;
    for (let seed = 0; seed < 8; seed++) {
      const own = randomKey(seed);
      const [jitter, noise, dropping] = splitKey(own, 3).map(first);
      const { indices } = router.route(params, {}, x, { key: own });
      expect((await values(indices)).indexOf(0)).toBe(dropping);
      if (dropping !== jitter && dropping !== noise && dropping !== first(own)) told++;
    }
    expect(told).toBeGreaterThan(0);
  });
});

describe("gradients of a router", () => {
  it("agree with central differences, noise and jitter included", async () => {
    const spec = {
      experts: EXPERTS,
      topK: 2,
      score: "sigmoid",
      softcap: 3,
      renormalize: { epsilon: 1e-20 },
      scale: 2.5,
    } as const;
    const router = linearRouter({
      inputSize: WIDTH,
      spec,
      linearBias: true,
      jitter: 0.2,
      noise: learnedNoise(0.1),
    });
    const leaves = {
      weight: draws(11, EXPERTS * WIDTH),
      bias: draws(12, EXPERTS),
      noise: draws(13, EXPERTS * WIDTH),
    };
    const shapes = { weight: [EXPERTS, WIDTH], bias: [EXPERTS], noise: [EXPERTS, WIDTH] };
    const upstream = f64(draws(14, TOKENS * 2), [TOKENS, 2]);
    type Leaf = keyof typeof leaves;
    const names = Object.keys(leaves) as Leaf[];
    const upload = (lists: typeof leaves): Record<Leaf, Tensor> => ({
      weight: f64(lists.weight, shapes.weight),
      bias: f64(lists.bias, shapes.bias),
      noise: f64(lists.noise, shapes.noise),
    });
    const loss = (p: Record<Leaf, Tensor>): { loss: Tensor; aux: Tensor } => {
      const routing = router.route(p, {}, x, training);
      return { loss: sum(mul(routing.outputWeights, upstream)), aux: routing.indices };
    };
    const { grads, aux } = valueAndGrad(loss)(upload(leaves));
    const step = 1e-6;
    for (const name of names) {
      const slopes = await values(grads[name]);
      for (const [at, value] of leaves[name].entries()) {
        const moved = async (by: number): Promise<number> => {
          const result = loss(upload({ ...leaves, [name]: leaves[name].with(at, value + by) }));
          expect(await values(result.aux)).toEqual(await values(aux));
          return result.loss.item();
        };
        const difference = ((await moved(step)) - (await moved(-step))) / (2 * step);
        expect(slopes[at]).toBeCloseTo(difference, 7);
      }
    }
  });
});

describe("bad input of a router", () => {
  it.each<[string, object]>([
    ["inputSize", { inputSize: 0 }],
    ["inputSize", { inputSize: 2.5 }],
    ["jitter", { jitter: 1 }],
    ["jitter", { jitter: -0.1 }],
    ["initializerRange", { initializerRange: -1 }],
    ["softcap", { logitSoftcap: 0 }],
    ["topK", { spec: { ...base.spec, topK: 9 } }],
  ])("refuses a bad %s", (name, changed) => {
    const make = (): unknown => linearRouter({ ...base, ...changed } as LinearRouterOptions);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });

  it("refuses parameters, state, input and keys that do not fit, by name", () => {
    const router = linearRouter(base);
    const { params } = start(router);
    const bias = f64([0, 0, 0, 0], [EXPERTS]);
    expect(() => router.route({ ...params, bias }, {}, x)).toThrow(/params\.bias/);
    expect(() => router.route({ ...params, noise: params.weight }, {}, x)).toThrow(/params\.noise/);
    expect(() => router.route({ weight: bias }, {}, x)).toThrow(ShapeError);
    expect(() => router.route(params, { selectionBias: bias }, x)).toThrow(ConfigError);
    expect(() => router.route(params, {}, f64([1, 2], [1, 2]))).toThrow(ShapeError);
    expect(router.route(params, {}, f64([1, 2, 3], [3])).indices.shape[0]).toBe(1);
    expect(() => router.route(params, {}, [1, 2, 3] as never)).toThrow(ConfigError);
    const withBias = linearRouter({ ...base, linearBias: true });
    expect(() => withBias.route(params, {}, x)).toThrow(/params\.bias/);
    const selecting = linearRouter({ ...base, spec: { ...base.spec, bias: true } });
    expect(() => selecting.route(params, {}, x)).toThrow(ConfigError);
    const badKey = { training: true, key: [1.5, 2] } as const;
    expect(() => router.route(params, {}, x, badKey)).toThrow(/context\.key/);
    const noisy = linearRouter({ ...base, noise: gaussianNoise(1) });
    const short = { training: true, noise: f64([1], [1, 1]) };
    expect(() => noisy.route(params, {}, x, short)).toThrow(ShapeError);
  });

  it("names the missing backend", () => {
    const router = linearRouter(base);
    for (const options of [undefined, {}, { backend: {} }]) {
      const init = (): unknown => router.init(key, options as unknown as { backend: Backend });
      expect(init).toThrow(ConfigError);
      expect(init).toThrow(/backend/);
    }
    expect(() => router.init(undefined as never, { backend })).toThrow(/randomKey/);
  });
});

describe("the resident path", () => {
  afterEach(() => vi.restoreAllMocks());

  it("reads nothing back, and leaves only the routing behind", () => {
    const read = vi.spyOn(Tensor.prototype, "read");
    const capacity = { size: { factor: 1 }, per: "sequence", order: "prioritized" } as const;
    const router = linearRouter({
      ...base,
      spec: { ...base.spec, capacity },
      jitter: 0.1,
      noise: learnedNoise(),
    });
    const { params } = start(router);
    const mask = backend.tensor([true, true, false, true, true]);
    const before = backend.statistics().liveTensors;
    const routing = backend.scope(() =>
      router.route(params, {}, x, { ...training, mask, sequences: [0, 2, TOKENS] }),
    );
    expect(read).not.toHaveBeenCalled();
    const kept = Object.values({ ...routing, ...routing.noise }).filter(
      (value) => value instanceof Tensor && value !== mask,
    ) as Tensor[];
    for (const tensor of kept) tensor.dispose();
    expect(backend.statistics().liveTensors).toBe(before);
  });

  it("works for the noisy preset under a gradient", async () => {
    const router = noisyTopKRouter({ hiddenSize: WIDTH, numExperts: EXPERTS, numExpertsPerTok: 2 });
    const { params } = start(router);
    const before = backend.statistics().liveTensors;
    const { loss, grads } = valueAndGrad((p: LinearRouterParams) =>
      sum(mul(router.route(p, {}, x, training).outputWeights, f64(draws(5, 10), [TOKENS, 2]))),
    )(params);
    expect((await values(grads.noise ?? null)).some((slope) => slope !== 0)).toBe(true);
    for (const tensor of [loss, grads.weight, grads.noise]) tensor?.dispose();
    // The upstream of the loss was made inside, and went with it.
    expect(backend.statistics().liveTensors).toBe(before);
  });
});
