import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, type Tensor, apply, randomKey, slice, zeros } from "@moiety/core";
import { switchBalance } from "@moiety/losses";
import { linearRouter } from "@moiety/routers";
import { attentionExperts } from "./attention.ts";
import { moa } from "./attention-layer.ts";
import type { AttentionExpertsOptions } from "./attention-types.ts";
import { distance, random, rowsOf } from "./testing/routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const [BATCH, TOKENS, WIDTH, EXPERTS, GROUPS, HEAD] = [2, 5, 4, 3, 2, 4];
const base: AttentionExpertsOptions = {
  experts: EXPERTS,
  hiddenSize: WIDTH,
  numKeyValueHeads: GROUPS,
  headDim: HEAD,
  ropeTheta: 100,
  outputBias: true,
};

const input = (): Tensor => random(backend, 2, [BATCH, TOKENS, WIDTH]);
const flat = (output: Tensor): Promise<number[][]> =>
  rowsOf(output.reshape([BATCH * TOKENS, WIDTH]));

describe("moa", () => {
  const layer = (change: Partial<AttentionExpertsOptions> = {}) =>
    moa({
      router: linearRouter({
        inputSize: WIDTH,
        spec: { experts: EXPERTS, topK: 2, score: "identity", weight: "softmaxOfChosen" },
        initializerRange: 1,
      }),
      experts: attentionExperts({ ...base, initializerRange: 1, ...change }),
      losses: [switchBalance({ coefficient: 0.5 })],
    });
  const start = () => layer().init(randomKey(4), { backend, dtype: "f64" });

  it("routes, attends, and tells losses and loads", async () => {
    const { params, state } = start();
    const result = apply(layer(), params, state, input());
    const routing = layer().route(params, state, input());
    const { output } = attentionExperts(base).attend(params.experts, input(), routing);
    expect(await flat(result.output)).toEqual(await flat(output));
    expect(result.routing.sequences).toEqual([0, TOKENS, 2 * TOKENS]);
    expect([...(await result.load.read())].reduce((a, b) => a + b)).toBe(2 * BATCH * TOKENS);
    expect(result.losses).toMatchObject([{ name: "switchBalance", coefficient: 0.5 }]);
  });

  it("hides padding from queries and from loads", async () => {
    const { params, state } = start();
    const mask = backend.tensor([true, true, true, true, false, true, true, true, false, false]);
    const changed = random(backend, 77, [BATCH, TOKENS, WIDTH]);
    const keep = [0, 1, 2, 3, 5, 6, 7];
    const values = [...(await input().read())];
    const others = [...(await changed.read())];
    const mixed = values.map((value, at) =>
      keep.includes(Math.floor(at / WIDTH)) ? value : (others[at] ?? 0),
    );
    const padded = backend.tensor(Float64Array.from(mixed), { shape: [BATCH, TOKENS, WIDTH] });
    const both = layer({ causal: false });
    const [one, two] = [input(), padded].map((x) => apply(both, params, state, x, { mask }));
    const [a, b] = await Promise.all(
      [one, two].map((result) => (result ? flat(result.output) : [])),
    );
    for (const token of keep) expect(a?.[token]).toEqual(b?.[token]);
    expect([...((await one?.load.read()) ?? [])].reduce((x, y) => x + y)).toBe(2 * keep.length);
  });

  it("sees no later token", async () => {
    const { params, state } = start();
    const values = (await input().read()) as Float64Array;
    const moved = values.slice();
    // The last token of each sequence.
    for (const token of [4, 9]) moved.fill(3, token * WIDTH, (token + 1) * WIDTH);
    const other = backend.tensor(moved, { shape: [BATCH, TOKENS, WIDTH] });
    const before = await flat(apply(layer(), params, state, input()).output);
    const after = await flat(apply(layer(), params, state, other).output);
    for (let token = 0; token < BATCH * TOKENS; token++) {
      const same = token % TOKENS !== 4;
      expect(distance([after[token] ?? []], [before[token] ?? []]) === 0).toBe(same);
    }
  });

  it("decodes step by step behind a cache as it does at once", async () => {
    const { params, state } = start();
    const x = input();
    const whole = await rowsOf(apply(layer(), params, state, x).output.reshape([BATCH, -1]));
    const empty = () => zeros(backend, [BATCH, TOKENS + 2, GROUPS, HEAD], "f64");
    let cache = { keys: empty(), values: empty() };
    const parts: number[][][] = [];
    for (const [position, count] of [
      [0, 3],
      [3, 1],
      [4, 1],
    ] as const) {
      const piece = slice(x, { starts: [0, position, 0], sizes: [BATCH, count, WIDTH] });
      const result = apply(layer(), params, state, piece, { attention: { cache, position } });
      if (!result.cache) throw new Error("no cache");
      cache = result.cache;
      parts.push(await rowsOf(result.output.reshape([BATCH, -1])));
    }
    const joined = whole.map((_, row) => parts.flatMap((part) => part[row] ?? []));
    expect(distance(joined, whole)).toBeLessThan(1e-13);
  });

  it("refuses parts that do not fit", () => {
    const router = linearRouter({
      inputSize: WIDTH,
      spec: { experts: 4, topK: 2, score: "softmax" },
    });
    expect(() => moa({ router, experts: attentionExperts(base) })).toThrow(/experts is 4, .* 3/u);
    const wide = linearRouter({
      inputSize: WIDTH + 1,
      spec: { experts: EXPERTS, topK: 2, score: "softmax" },
    });
    expect(() => moa({ router: wide, experts: attentionExperts(base) })).toThrow(/inputSize is 5/u);
  });
});
