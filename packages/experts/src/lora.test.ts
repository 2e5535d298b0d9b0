import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Tensor,
  leavesOf,
  mapTree,
  mixExperts,
  randomKey,
  sum,
  valueAndGrad,
} from "@moiety/core";
import type { FfnBank } from "./bank.ts";
import { glu } from "./glu.ts";
import { type LoraOptions, lora } from "./lora.ts";
import { mlp } from "./mlp.ts";
import type { FfnParams } from "./params.ts";
import { times } from "./testing/reference.ts";
import {
  distance,
  drawRouting,
  matrixOf,
  mixNaively,
  random,
  routingOf,
  rowsOf,
} from "./testing/routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const [EXPERTS, WIDTH, TOKENS] = [4, 3, 8];
const sizes = { experts: EXPERTS, hiddenSize: WIDTH, intermediateSize: 5, initializerRange: 1 };
const options = { backend: undefined as unknown as Backend, dtype: "f64" } as const;
const init = () => ({ ...options, backend });

const banks: readonly [string, FfnBank<FfnParams>, LoraOptions][] = [
  ["glu", glu({ ...sizes, activation: "silu", bias: true }), { rank: 2, alpha: 6 }],
  ["mlp", mlp({ ...sizes, activation: "relu", bias: true }), { rank: 3 }],
  ["one target", glu({ ...sizes, activation: "gelu" }), { rank: 1, targets: ["gateUp"] }],
  [
    "gpt-oss's layout",
    glu({
      ...sizes,
      activation: "silu",
      bias: true,
      transposed: true,
      layout: { packing: "interleaved", first: "gate" },
      clamp: { limit: 1 },
      alpha: 1.702,
      upOffset: 1,
    }),
    { rank: 2, alpha: 4 },
  ],
];

describe.each(banks)("lora on %s", (_, bank, given) => {
  const adapted = lora(bank, given);
  const x = () => random(backend, 2, [TOKENS, WIDTH]);
  const routing = () => routingOf(backend, drawRouting(3, TOKENS, 2, EXPERTS));
  /** Parameters of which every number matters. */
  const moved = () => {
    let seed = 20;
    const { params } = adapted.init(randomKey(1), init());
    return mapTree(params, (leaf) =>
      random(backend, seed++, (leaf as Tensor).shape),
    ) as typeof params;
  };

  it("starts as the bank that it adapts", async () => {
    const base = bank.init(randomKey(5), init()).params;
    const params = adapted.adapt(base, randomKey(6), init());
    const found = await rowsOf(mixExperts(adapted, params, x(), routing()));
    expect(found).toEqual(await rowsOf(mixExperts(bank, base, x(), routing())));
    const shapes = mapTree(params, (leaf) => (leaf as Tensor).shape);
    expect(shapes).toEqual(adapted.shapes);
    for (const { path, leaf } of leavesOf(params.adapters)) {
      const values = [...(await (leaf as Tensor).read())];
      expect(values.every((value) => (value === 0) === path.endsWith(".b"))).toBe(true);
    }
  });

  it("is the merged bank", async () => {
    const params = moved();
    const merged = adapted.merge(params);
    expect(mapTree(merged, (leaf) => (leaf as Tensor).shape)).toEqual(bank.shapes);
    const found = await rowsOf(mixExperts(adapted, params, x(), routing()));
    const wanted = await rowsOf(mixExperts(bank, merged, x(), routing()));
    const size = Math.max(...wanted.flat().map(Math.abs));
    expect(distance(found, wanted)).toBeLessThan(1e-13 * size);
    const before = await rowsOf(mixExperts(bank, params.base, x(), routing()));
    expect(distance(found, before)).toBeGreaterThan(0.1);
  });

  it("trains A and B of each expert, and nothing else", async () => {
    const params = moved();
    const { grads } = valueAndGrad((tree: typeof params) =>
      sum(mixExperts(adapted, tree, x(), routing())),
    )(params);
    for (const gradient of Object.values(grads.base)) expect(gradient).toBeNull();
    const leaves = leavesOf(grads.adapters);
    expect(leaves).toHaveLength(2 * (given.targets?.length ?? 2));
    for (const { leaf } of leaves) {
      const values = [...(await (leaf as Tensor).read())];
      expect(values.some((value) => value !== 0)).toBe(true);
    }
  });
});

it("computes (W + α/r · BA)x for each expert", async () => {
  const bank = mlp({ ...sizes, activation: "identity" });
  const adapted = lora(bank, { rank: 2, alpha: 3, targets: ["up"] });
  const { up, down } = bank.init(randomKey(1), init()).params;
  const [a, b] = [random(backend, 4, [EXPERTS, 2, WIDTH]), random(backend, 5, [EXPERTS, 5, 2])];
  const params = { base: { up, down }, adapters: { up: { a, b } } };
  const hand = drawRouting(3, TOKENS, 2, EXPERTS, true);
  const x = random(backend, 2, [TOKENS, WIDTH]);
  const matrices = await Promise.all(
    [up, down, a, b].map((tensor) =>
      Promise.all(Array.from({ length: EXPERTS }, (_, id) => matrixOf(tensor, id))),
    ),
  );
  const expected = mixNaively(hand, await rowsOf(x), WIDTH, (id, input) => {
    const [w = [], out = [], low = [], high = []] = matrices.map((one) => one[id]);
    const change = times(high, times(low, input));
    const hidden = times(w, input).map((value, at) => value + 1.5 * (change[at] ?? 0));
    return times(out, hidden);
  });
  const found = mixExperts(adapted, params, x, routingOf(backend, hand));
  expect(distance(await rowsOf(found), expected)).toBeLessThan(1e-12);
});

it("merges into the dtype of the weights, and frees what it made", async () => {
  const bank = mlp({ ...sizes, activation: "relu" });
  const adapted = lora(bank, { rank: 1 });
  // 0.5 in bfloat16.
  const half = (shape: readonly number[] | undefined): Tensor =>
    backend.tensor(new Uint16Array(60).fill(0x3f00), { shape: shape ?? [], dtype: "bf16" });
  const base = { up: half(bank.shapes.up), down: half(bank.shapes.down) };
  const ones = (shape: readonly number[]): Tensor =>
    backend.tensor(new Float32Array(shape.reduce((size, n) => size * n, 1)).fill(1), { shape });
  const pair = (out: number, input: number) => ({
    a: ones([EXPERTS, 1, input]),
    b: ones([EXPERTS, out, 1]),
  });
  const adapters = { up: pair(5, WIDTH), down: pair(WIDTH, 5) };
  const before = backend.statistics().liveTensors;
  const merged = adapted.merge({ base, adapters });
  expect(merged.up.dtype).toBe("bf16");
  // 1.5 in bfloat16.
  expect(new Set(await merged.up.read())).toEqual(new Set([0x3fc0]));
  expect(backend.statistics().liveTensors).toBe(before + 2);
  const x = backend.tensor(new Float32Array(TOKENS * WIDTH).fill(1), { shape: [TOKENS, WIDTH] });
  const hand = drawRouting(3, TOKENS, 2, EXPERTS);
  const routing = routingOf(backend, hand);
  const outputWeights = ones([TOKENS, 2]);
  const found = mixExperts(adapted, { base, adapters }, x, { ...routing, outputWeights });
  // 5 units of 3 · 1.5, times 1.5, for each choice that found a place.
  const counts = hand.choices.map((row) => row.filter((id) => id < EXPERTS).length);
  expect(await rowsOf(found)).toEqual(counts.map((n) => new Array<number>(WIDTH).fill(n * 33.75)));
});

it.each<[string, LoraOptions]>([
  ["rank", { rank: 0 }],
  ["rank", { rank: 1.5 }],
  ["alpha", { rank: 1, alpha: Number.POSITIVE_INFINITY }],
  ["targets", { rank: 1, targets: [] }],
  ["targets", { rank: 1, targets: ["up"] }],
  ["targets", { rank: 1, targets: ["down", "down"] }],
  ["initializerRange", { rank: 1, initializerRange: -1 }],
])("refuses a bad %s", (key, given) => {
  const bank = glu({ ...sizes, activation: "silu" });
  expect(() => lora(bank, given)).toThrow(
    expect.objectContaining({ code: "CONFIG", key }) as Error,
  );
});
