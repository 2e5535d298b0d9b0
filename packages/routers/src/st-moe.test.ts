import {
  ConfigError,
  type RouteContext,
  type Tensor,
  type TokenChoice,
  add,
  combine,
  dispatch,
  groupedMatmul,
  mul,
  plan,
  sub,
  sum,
  gather,
  valueAndGrad,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type StMoeOptions, stMoeRouter } from "./index.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  f64,
  ranked,
  rowsOf,
  softmaxOf,
  values,
} from "./testing/numbers.ts";
import { placeByLoops, shared, survivors } from "./testing/places.ts";

const EXPERTS = 5;
const TOKENS = 40;
const WIDTH = 3;
const base: StMoeOptions = { hiddenSize: WIDTH, numExperts: EXPERTS };
const x = drawn(31, [TOKENS, WIDTH]);
const weight = drawn(32, [EXPERTS, WIDTH]);
const sequences = [0, 12, 24, TOKENS];

/** `TopNGating`, by plain loops. */
function reference(
  logits: readonly (readonly number[])[],
  topN: number,
  thresholds: readonly number[],
  factor: number,
  chances: readonly number[] | undefined,
): { indices: number[]; weights: number[] } {
  const scores = logits.map(softmaxOf);
  const chosen = scores.map((row) => ranked(row).slice(0, topN));
  const weights = shared(
    chosen.map((row, token) => row.map((id) => scores[token]?.[id] ?? 0)),
    1e-9,
  );
  const routed = chosen.map((row, token) =>
    row.map((id, choice) => {
      if (choice === 0 || !chances) return id;
      const ratio = (weights[token]?.[choice] ?? 0) / Math.max(thresholds[choice - 1] ?? 0, 1e-9);
      return (chances[token * topN + choice] ?? 0) < ratio ? id : EXPERTS;
    }),
  );
  const placed = placeByLoops(routed, {
    experts: EXPERTS,
    places: (tokens) => Math.max(4, Math.min(tokens, Math.floor((tokens * factor) / EXPERTS))),
    groups: sequences,
    choiceFirst: true,
  });
  return { indices: placed.flat(), weights: survivors(weights, placed, EXPERTS).flat() };
}

describe("stMoeRouter", () => {
  it.each([
    [2, 0.2, 1.25],
    [2, [0.6], 2],
    [3, [0.9, 0.4], 1.5],
    [4, 0.3, 2],
  ] as const)("is TopNGating: n %s, thresholds %s, factor %s", async (topN, threshold, factor) => {
    const chances = draws(33, TOKENS * topN).map((value) => Math.abs(value) % 1);
    const router = stMoeRouter({
      ...base,
      gatingTopN: topN,
      thresholdTrain: threshold,
      capacityFactorTrain: factor,
    });
    expect(router.acrossTokens).toBe(true);
    const noise = f64(chances, [TOKENS, topN]);
    const routing = router.route({ weight }, {}, x, { sequences, training: true, noise });
    const list =
      typeof threshold === "number" ? new Array<number>(topN - 1).fill(threshold) : threshold;
    const wanted = reference(await rowsOf(routing.logits), topN, list, factor, chances);
    expect(await values(routing.indices)).toEqual(wanted.indices);
    expect(distance(await values(routing.outputWeights), wanted.weights)).toBeLessThan(1e-14);
    expect(wanted.indices.filter((id) => id === EXPERTS).length).toBeGreaterThan(3);
  });

  it("has other places in evaluation, and no chance", async () => {
    const routing = stMoeRouter({ ...base, capacityFactorEval: 1.5 }).route({ weight }, {}, x, {
      sequences,
    });
    const wanted = reference(await rowsOf(routing.logits), 2, [], 1.5, undefined);
    expect(await values(routing.indices)).toEqual(wanted.indices);
    expect(distance(await values(routing.outputWeights), wanted.weights)).toBeLessThan(1e-14);
    const drawing = stMoeRouter({ ...base, chanceInEval: true });
    expect(() => drawing.route({ weight }, {}, x)).toThrow(
      expect.objectContaining({ key: "context.key" }),
    );
  });

  it("adds Gumbel noise to the logits where asked to", async () => {
    const router = stMoeRouter({ ...base, noiseMult: 0.5 });
    const plain = stMoeRouter(base);
    const context: RouteContext = { sequences, training: true, key: [1, 2] };
    const [noisy, clean] = [router, plain].map((one) => one.route({ weight }, {}, x, context));
    expect(distance(await values(noisy?.logits), await values(clean?.logits))).toBeGreaterThan(0.1);
  });
});

/** Linear experts: the rows' inputs times one matrix each. */
function runExperts(routing: TokenChoice, experts: Tensor, input: Tensor): Tensor {
  const sorted = plan(routing);
  const rows = dispatch(input, sorted, routing.inputWeights);
  return combine(
    mul(
      groupedMatmul(gather(rows), experts, rows.offsets),
      groupedMatmul(gather(rows), experts, rows.offsets),
    ),
    sorted,
    routing.outputWeights,
  );
}

describe("straight-through dispatch", () => {
  const noise = f64(new Array<number>(TOKENS * 2).fill(0), [TOKENS, 2]);
  const context: RouteContext = { sequences, training: true, noise };
  const experts = drawn(34, [EXPERTS, WIDTH, WIDTH]);
  const upstream = drawn(35, [TOKENS, WIDTH]);
  const router = stMoeRouter(base);

  it("leaves values alone, and costs nothing without gradients", () => {
    const routing = router.route({ weight }, {}, x, context);
    expect(routing.inputWeights).toBeUndefined();
  });

  it("has the gradient of x · (1 + w − stop(w))", async () => {
    const lossOf = (routing: TokenChoice): Tensor =>
      sum(mul(runExperts(routing, experts, x), upstream));
    const frozen = router.route({ weight }, {}, x, context).outputWeights;
    // What the source multiplies with, its stopped part held fast by hand.
    const written = (own: Tensor): TokenChoice => {
      const routing = stMoeRouter({ ...base, straightThrough: false }).route(
        { weight: own },
        {},
        x,
        context,
      );
      return { ...routing, inputWeights: add(sub(routing.outputWeights, frozen), 1) };
    };
    const { loss, grads } = valueAndGrad((params: { weight: Tensor }) =>
      lossOf(router.route(params, {}, x, context)),
    )({ weight });
    const plain = valueAndGrad((params: { weight: Tensor }) =>
      lossOf(stMoeRouter({ ...base, straightThrough: false }).route(params, {}, x, context)),
    )({ weight });
    expect(await loss.item()).toBeCloseTo(await plain.loss.item(), 12);
    const slopes = await values(grads.weight);
    expect(distance(slopes, await values(plain.grads.weight))).toBeGreaterThan(0.1);
    const data = await values(weight);
    for (const [at, value] of data.entries()) {
      const moved = (by: number): Promise<number> =>
        lossOf(written(f64(data.with(at, value + by), [EXPERTS, WIDTH]))).item();
      const difference = ((await moved(1e-6)) - (await moved(-1e-6))) / 2e-6;
      expect(slopes[at]).toBeCloseTo(difference, 6);
    }
  });
});

describe("bad input of stMoeRouter", () => {
  it.each<[string, object]>([
    ["gatingTopN", { gatingTopN: 1 }],
    ["topK", { gatingTopN: 6 }],
    ["thresholdTrain", { thresholdTrain: [0.2, 0.2] }],
    ["thresholdEval", { thresholdEval: -1 }],
    ["capacityFactorTrain", { capacityFactorTrain: -1 }],
    ["capacityFactorEval", { capacityFactorEval: Number.POSITIVE_INFINITY }],
  ])("refuses a bad %s", (name, changed) => {
    const make = (): unknown => stMoeRouter({ ...base, ...changed } as StMoeOptions);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key: name }));
  });

  it("needs a key in training, and leaves padding without places", async () => {
    expect(() => stMoeRouter(base).route({ weight }, {}, x, { training: true })).toThrow(
      expect.objectContaining({ key: "context.key" }),
    );
    const mask = Array.from({ length: TOKENS }, (_, token) => token % 3 !== 0);
    const routing = stMoeRouter(base).route({ weight }, {}, x, { mask: backend.tensor(mask) });
    for (const [token, row] of (await rowsOf(routing.indices)).entries()) {
      if (!mask[token]) expect(row).toEqual([EXPERTS, EXPERTS]);
    }
  });
});
