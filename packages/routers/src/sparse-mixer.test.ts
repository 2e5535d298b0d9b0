import {
  ConfigError,
  type RouteContext,
  ShapeError,
  type Tensor,
  mul,
  randomKey,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type SparseMixerOptions, sparseMixerRouter } from "./index.ts";
import {
  distance,
  drawn,
  draws,
  expectGradients,
  f64,
  identity,
  ranked,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";

const EXPERTS = 5;
const TOKENS = 24;
const x = drawn(51, [TOKENS, EXPERTS]);
const weight = identity(EXPERTS);
const noiseList = draws(52, 2 * TOKENS * (EXPERTS + 1)).map((value, at) =>
  at % (EXPERTS + 1) === EXPERTS ? Math.abs(value) % 1 : value,
);
const noise = f64(noiseList, [2, TOKENS, EXPERTS + 1]);
const noiseAt = (choice: number, token: number, at: number): number =>
  noiseList[(choice * TOKENS + token) * (EXPERTS + 1) + at] ?? 0;

interface One {
  readonly chosen: number;
  readonly weight: number;
  /** ∂ weight / ∂ logits, by the published estimator. */
  readonly slopes: readonly number[];
}

/** One choice of `sparsemixer`, by plain loops. */
function chooseOne(
  logits: readonly number[],
  taken: readonly number[],
  epsilon: number,
  draw: ((at: number) => number) | undefined,
): One {
  const open = logits.map((_, expert) => !taken.includes(expert));
  const best = Math.max(...logits.filter((_, expert) => open[expert]));
  const near = logits.map((logit, expert) => {
    const factor = Math.max(Math.abs(logit), best);
    return open[expert] === true && !((best - logit) / factor > 2 * epsilon);
  });
  const masked = logits.map((logit, expert) => (near[expert] ? logit : Number.NEGATIVE_INFINITY));
  const gates = softmaxOf(masked);
  const [likeliest = 0] = ranked(gates);
  const chosen = ranked(masked.map((logit, expert) => logit + (draw ? draw(expert) : 0)))[0] ?? 0;
  const whole = chosen === likeliest || (draw?.(EXPERTS) ?? 1) > 0.75;
  const plain = gates[chosen] ?? 0;
  return {
    chosen,
    weight: plain * (draw ? 0.3333 + 0.6667 * Number(whole) : 1),
    slopes: gates.map((gate, expert) => plain * (Number(expert === chosen) - gate)),
  };
}

function reference(
  rows: readonly (readonly number[])[],
  epsilon: number,
  training: boolean,
): readonly (readonly [One, One])[] {
  return rows.map((row, token) => {
    const draw = (choice: number) =>
      training ? (at: number) => noiseAt(choice, token, at) : undefined;
    const first = chooseOne(row, [], epsilon, draw(0));
    return [first, chooseOne(row, [first.chosen], epsilon, draw(1))];
  });
}

const settings = [0.01, 0.1, 0.3, 1].flatMap((epsilon) =>
  [false, true].map((training) => [epsilon, training] as const),
);

describe("sparseMixerRouter", () => {
  it.each(settings)("is sparsemixer, ε %s, training %s", async (epsilon, training) => {
    const router = sparseMixerRouter({
      hiddenSize: EXPERTS,
      numLocalExperts: EXPERTS,
      routerJitterNoise: epsilon,
    });
    expect(router.acrossTokens).toBe(false);
    const context: RouteContext = { training, noise };
    const wanted = reference(await rowsOf(x), epsilon, training);
    const routing = router.route({ weight }, {}, x, context);
    expect(await values(routing.indices)).toEqual(
      wanted.flatMap((two) => two.map((one) => one.chosen)),
    );
    expect(
      distance(
        await values(routing.outputWeights),
        wanted.flatMap((two) => two.map((one) => one.weight)),
      ),
    ).toBeLessThan(1e-14);
    // The gradient of Σ weights · upstream with respect to the logits, which are x.
    const upstream = drawn(53, [TOKENS, 2]);
    const ups = await rowsOf(upstream);
    const { grads } = valueAndGrad(({ input }: { input: Tensor }) =>
      sum(mul(router.route({ weight }, {}, input, context).outputWeights, upstream)),
    )({ input: x });
    const slopes = wanted.flatMap((two, token) =>
      Array.from({ length: EXPERTS }, (_, expert) =>
        two.reduce(
          (total, one, choice) => total + (ups[token]?.[choice] ?? 0) * (one.slopes[expert] ?? 0),
          0,
        ),
      ),
    );
    expect(distance(await values(grads.input), slopes)).toBeLessThan(1e-13);
  });

  it("takes the midpoint three times in four where the draw is not the likeliest", async () => {
    const tokens = 4000;
    const router = sparseMixerRouter({
      hiddenSize: EXPERTS,
      numLocalExperts: EXPERTS,
      routerJitterNoise: 2,
    });
    const row = [1, 0.9, 0.8, 0.7, 0.6];
    const many = f64(Array.from({ length: tokens }, () => row).flat(), [tokens, EXPERTS]);
    const routing = router.route({ weight }, {}, many, { training: true, key: randomKey(3) });
    const shares = softmaxOf(row);
    const chosen = await rowsOf(routing.indices);
    const weights = await rowsOf(routing.outputWeights);
    let other = 0;
    let midpoints = 0;
    for (const [token, [first = 0]] of chosen.entries()) {
      const ratio = (weights[token]?.[0] ?? 0) / (shares[first] ?? 1);
      if (first === 0) expect(ratio).toBeCloseTo(1, 12);
      else {
        other++;
        if (ratio < 0.9) midpoints++;
      }
    }
    const expected = 1 - (shares[0] ?? 0);
    expect(Math.abs(other / tokens - expected)).toBeLessThan(
      5 * Math.sqrt((expected * (1 - expected)) / tokens),
    );
    expect(Math.abs(midpoints / other - 0.75)).toBeLessThan(5 * Math.sqrt(0.1875 / other));
  });

  it("has true gradients outside training", async () => {
    const router = sparseMixerRouter({
      hiddenSize: 3,
      numLocalExperts: EXPERTS,
      routerJitterNoise: 0.3,
    });
    const input = drawn(54, [7, 3]);
    await expectGradients({ weight: drawn(55, [EXPERTS, 3]) }, (params) =>
      router.route(params, {}, input, {}),
    );
  });

  it("keeps NaN with its token, and zeros apart", async () => {
    const router = sparseMixerRouter({ hiddenSize: EXPERTS, numLocalExperts: EXPERTS });
    const rows = f64([0, 0, 0, 0, 0, 1, Number.NaN, 0, 0, 0, 3, 2.999, 0, 0, 0], [3, EXPERTS]);
    const clean = f64([0, 0, 0, 0, 0, 3, 2.999, 0, 0, 0], [2, EXPERTS]);
    const logits = { weight };
    const wanted = await values(router.route(logits, {}, clean).outputWeights);
    // A matrix product would spread NaN over the row's logits: it is the whole token that has none.
    const [equal, broken, near] = await rowsOf(router.route(logits, {}, rows).outputWeights);
    expect([...(equal ?? []), ...(near ?? [])]).toEqual(wanted);
    expect(broken?.every(Number.isNaN)).toBe(true);
    expect(equal).toEqual([1 / 5, 1 / 4]);
  });

  it("refuses what makes no sense", () => {
    const options = { hiddenSize: EXPERTS, numLocalExperts: EXPERTS };
    for (const [name, changed] of [
      ["routerJitterNoise", { routerJitterNoise: -1 }],
      ["jitter", { inputJitterNoise: 1 }],
      ["topK", { numLocalExperts: 1 }],
    ] as const) {
      const make = (): unknown =>
        sparseMixerRouter({ ...options, ...changed } as SparseMixerOptions);
      expect(make).toThrow(ConfigError);
      expect(make).toThrow(expect.objectContaining({ key: name }));
    }
    const route = (context: RouteContext) => () =>
      sparseMixerRouter(options).route({ weight }, {}, x, { training: true, ...context });
    expect(route({})).toThrow(expect.objectContaining({ key: "context.key" }));
    expect(route({ noise: drawn(1, [TOKENS, EXPERTS]) })).toThrow(ShapeError);
  });
});
