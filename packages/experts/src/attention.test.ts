import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  ShapeError,
  type Soft,
  type Tensor,
  leavesOf,
  mapTree,
  mul,
  randomKey,
  rotaryFrequencies,
  rotaryTable,
  sum,
  zeros,
} from "@moiety/core";
import { type AttentionExperts, attentionExperts } from "./attention.ts";
import type { AttentionExpertsOptions, AttentionExpertsParams } from "./attention-types.ts";
import { derivatives, wrong } from "./testing/gradients.ts";
import { times } from "./testing/reference.ts";
import {
  type HandRouting,
  distance,
  drawRouting,
  matrixOf,
  random,
  routingOf,
  rowsOf,
} from "./testing/routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const [BATCH, TOKENS, WIDTH, EXPERTS, GROUPS, HEAD] = [2, 5, 4, 3, 2, 4];
const THETA = 100;
const base: AttentionExpertsOptions = {
  experts: EXPERTS,
  hiddenSize: WIDTH,
  numKeyValueHeads: GROUPS,
  headDim: HEAD,
  ropeTheta: THETA,
  outputBias: true,
};

const input = (seed = 2): Tensor => random(backend, seed, [BATCH, TOKENS, WIDTH]);
const hand = drawRouting(3, BATCH * TOKENS, 2, EXPERTS);

/** Parameters of which every number matters. */
function drawn(experts: AttentionExperts): AttentionExpertsParams {
  let seed = 20;
  const { params } = experts.init(randomKey(1), { backend, dtype: "f64" });
  return mapTree(params, (leaf) =>
    random(backend, seed++, (leaf as Tensor).shape),
  ) as AttentionExpertsParams;
}

/** Rotates pairs (i, i + D/2), as Hugging Face's `rotate_half` does. */
function turned(head: readonly number[], position: number): number[] {
  const pairs = HEAD / 2;
  return head.map((value, at) => {
    const pair = at % pairs;
    const angle = position * THETA ** (-pair / pairs);
    const other = at < pairs ? -(head[at + pairs] ?? 0) : (head[at - pairs] ?? 0);
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

/**
 * Every head by plain loops, in the order of JetMoE: heads of a token lie expert by expert, and keys
 * are repeated as a whole (`repeat(1, top_k, 1, 1)`).
 */
async function attendNaively(
  params: AttentionExpertsParams,
  x: Tensor,
  routing: HandRouting,
  { rotate = true, causal = true, seen = (_key: number): boolean => true } = {},
): Promise<number[][]> {
  const rows = await rowsOf(x.reshape([BATCH * TOKENS, WIDTH]));
  const ids = Array.from({ length: EXPERTS }, (_, id) => id);
  const queries = await Promise.all(ids.map((id) => matrixOf(params.query.weight, id)));
  const outputs = await Promise.all(ids.map((id) => matrixOf(params.output.weight, id)));
  const keyValue = [...(await params.keyValue.read())];
  const bias = params.bias ? [...(await params.bias.read())] : [];
  const turn = (head: number[], token: number) => (rotate ? turned(head, token % TOKENS) : head);
  const headOf = (values: readonly number[], head: number) =>
    values.slice(head * HEAD, (head + 1) * HEAD);
  return rows.map((row, token) => {
    const total = Array.from({ length: WIDTH }, (_, at) => bias[at] ?? 0);
    for (const [j, id] of (routing.choices[token] ?? []).entries()) {
      if (id === EXPERTS) continue;
      const factor = routing.inputWeights?.[token]?.[j] ?? 1;
      const query = times(
        queries[id] ?? [],
        row.map((value) => value * factor),
      );
      const heads = Array.from({ length: GROUPS }, (_, group) => {
        const q = turn(headOf(query, group), token);
        const first = token - (token % TOKENS);
        const powers: number[] = [];
        const sums = new Array<number>(HEAD).fill(0);
        for (let other = first; other < first + TOKENS; other++) {
          if ((causal && other > token) || !seen(other)) continue;
          const both = times(keyValue, rows[other] ?? []);
          const k = turn(headOf(both, group), other);
          const v = headOf(both, GROUPS + group);
          const product = q.reduce((dot, value, at) => dot + value * (k[at] ?? 0), 0);
          const power = Math.exp(product / Math.sqrt(HEAD));
          powers.push(power);
          for (const at of sums.keys()) sums[at] = (sums[at] ?? 0) + power * (v[at] ?? 0);
        }
        const whole = powers.reduce((a, b) => a + b, 0);
        return sums.map((value) => value / whole);
      });
      const output = times(outputs[id] ?? [], heads.flat());
      for (const at of total.keys()) {
        total[at] = (total[at] ?? 0) + (routing.weights[token]?.[j] ?? 0) * (output[at] ?? 0);
      }
    }
    return total;
  });
}

const flat = (output: Tensor): Promise<number[][]> =>
  rowsOf(output.reshape([BATCH * TOKENS, WIDTH]));

describe("attentionExperts", () => {
  it.each<[string, Partial<AttentionExpertsOptions>, boolean]>([
    ["as JetMoE has them", {}, false],
    ["with input weights", {}, true],
    ["without positions", { ropeTheta: undefined, outputBias: false }, false],
    ["seeing both ways", { causal: false }, false],
  ])("attend %s", async (_, change, weighInput) => {
    const options = { ...base, ...change };
    const experts = attentionExperts(options);
    const params = drawn(experts);
    const routed = drawRouting(3, BATCH * TOKENS, 2, EXPERTS, weighInput);
    const { output, cache } = experts.attend(params, input(), routingOf(backend, routed));
    expect(output.shape).toEqual([BATCH, TOKENS, WIDTH]);
    expect(cache).toBeUndefined();
    const expected = await attendNaively(params, input(), routed, {
      rotate: options.ropeTheta !== undefined,
      causal: options.causal ?? true,
    });
    expect(distance(await flat(output), expected)).toBeLessThan(1e-12);
  });

  it("leave masked keys out", async () => {
    const experts = attentionExperts({ ...base, causal: false });
    const params = drawn(experts);
    const seen = (key: number): boolean => key % TOKENS !== 0 && key !== 8;
    const keyMask = backend.tensor(
      Array.from({ length: BATCH * TOKENS }, (_, key) => seen(key)),
      { shape: [BATCH, TOKENS] },
    );
    const { output } = experts.attend(params, input(), routingOf(backend, hand), { keyMask });
    const expected = await attendNaively(params, input(), hand, { causal: false, seen });
    expect(distance(await flat(output), expected)).toBeLessThan(1e-12);
  });

  it("take tables of other positions", async () => {
    const experts = attentionExperts(base);
    const params = drawn(experts);
    const routing = routingOf(backend, hand);
    const tables = (first: number) =>
      rotaryTable(backend, {
        positions: Array.from({ length: TOKENS }, (_, token) => first + token),
        frequencies: rotaryFrequencies(HEAD, THETA),
        dtype: "f64",
      });
    const own = await flat(experts.attend(params, input(), routing).output);
    // Only distances count, so later positions change nothing but rounding; a stretch does.
    const later = experts.attend(params, input(), routing, { rotary: tables(7) });
    expect(distance(await flat(later.output), own)).toBeLessThan(1e-12);
    const stretched = rotaryTable(backend, {
      positions: [0, 2, 4, 6, 8],
      frequencies: rotaryFrequencies(HEAD, THETA),
      dtype: "f64",
    });
    const other = experts.attend(params, input(), routing, { rotary: stretched });
    expect(distance(await flat(other.output), own)).toBeGreaterThan(1e-3);
  });

  it("say their shapes and start alike from one key", async () => {
    const experts = attentionExperts(base);
    const { params, state } = experts.init(randomKey(1), { backend });
    expect(mapTree(params, (leaf) => (leaf as Tensor).shape)).toEqual(experts.shapes);
    expect(experts.shapes).toEqual({
      query: { weight: [EXPERTS, GROUPS * HEAD, WIDTH] },
      keyValue: [2 * GROUPS * HEAD, WIDTH],
      output: { weight: [EXPERTS, WIDTH, GROUPS * HEAD] },
      bias: [WIDTH],
    });
    expect(state).toEqual({});
    const wide = experts.init(randomKey(1), { backend, dtype: "f64" }).params;
    expect([...(await wide.keyValue.read())]).toEqual([...(await params.keyValue.read())]);
  });

  it("have the gradient of central differences", async () => {
    const experts = attentionExperts(base);
    const weighed = drawRouting(3, BATCH * TOKENS, 2, EXPERTS, true);
    const routing = routingOf(backend, weighed);
    const { outputWeights, inputWeights = outputWeights } = routing;
    const upstream = input(9);
    const params = mapTree(drawn(experts), (leaf) => mul(leaf as Tensor, 0.5));
    const tree = { params, x: input(), outputWeights, inputWeights };
    const found = await derivatives(backend, tree, ({ params: p, x, ...weights }) =>
      sum(
        mul(
          experts.attend(p as AttentionExpertsParams, x, { ...routing, ...weights }).output,
          upstream,
        ),
      ),
    );
    expect(found).toHaveLength(leavesOf(tree).length);
    expect(wrong(found)).toEqual([]);
  });

  it("keep NaN weights with their token", async () => {
    const experts = attentionExperts(base);
    const params = drawn(experts);
    const clean = await flat(experts.attend(params, input(), routingOf(backend, hand)).output);
    const spoilt = { ...hand, weights: hand.weights.with(3, [Number.NaN, Number.NaN]) };
    const found = await flat(experts.attend(params, input(), routingOf(backend, spoilt)).output);
    expect(found[3]?.every(Number.isNaN)).toBe(true);
    expect(found.toSpliced(3, 1)).toEqual(clean.toSpliced(3, 1));
  });
});

describe("bad input", () => {
  it.each<[string, Partial<AttentionExpertsOptions>]>([
    ["experts", { experts: 0 }],
    ["numKeyValueHeads", { numKeyValueHeads: 1.5 }],
    ["headDim", { headDim: 3 }],
    ["ropeTheta", { ropeTheta: 0 }],
    ["initializerRange", { initializerRange: -1 }],
  ])("is named: %s", (key, change) => {
    const make = () => attentionExperts({ ...base, ...change });
    expect(make).toThrow(expect.objectContaining({ code: "CONFIG", key }) as Error);
  });

  it("of a call is refused", () => {
    const experts = attentionExperts(base);
    const params = drawn(experts);
    const x = input();
    const attend = (routing: Parameters<AttentionExperts["attend"]>[2], one = x) =>
      experts.attend(params, one, routing);
    const logits = zeros(backend, [BATCH * TOKENS, EXPERTS], "f64");
    const soft: Soft = {
      kind: "soft",
      experts: EXPERTS,
      logits,
      scores: logits,
      slots: 1,
      dispatch: logits,
      combine: logits,
    };
    expect(() => attend(soft)).toThrow(/token-choice routing, not soft/u);
    expect(() => attend(routingOf(backend, drawRouting(3, 10, 2, 4)))).toThrow(/4 experts/u);
    expect(() => attend(routingOf(backend, drawRouting(3, 9, 2, EXPERTS)))).toThrow(/9 tokens/u);
    const routing = routingOf(backend, hand);
    expect(() => attend(routing, x.reshape([BATCH * TOKENS, WIDTH]))).toThrow(ShapeError);
    const still = attentionExperts({ ...base, ropeTheta: undefined });
    const rotary = { cos: logits, sin: logits };
    expect(() => still.attend(params, x, routing, { rotary })).toThrow(ConfigError);
  });
});
