import {
  type Backend,
  ConfigError,
  ShapeError,
  Tensor,
  cast,
  loadOf,
  moe,
  mul,
  randomKey,
  sum,
  takeAlong,
  topK,
  valueAndGrad,
} from "@moiety/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { gaussianNoise, learnedNoise } from "./noise.ts";
import {
  type LinearRouterOptions,
  type LinearRouterParams,
  linearRouter,
  noisyTopKRouter,
} from "./index.ts";

import { EXPERTS, TOKENS, WIDTH, base, key, linear, start, training, x } from "./testing/linear.ts";
import { backend, distance, draws, f64, values } from "./testing/numbers.ts";

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
