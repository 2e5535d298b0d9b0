import type { Tensor } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WebGpuOptions } from "../../options.ts";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";
import { type Layer, descriptors, inputsOf, run, runOn, small } from "./testing/layer.ts";

const gpu = await requireWebGpu();
/** Kernels with workgroup memory take long to compile where no hardware does the work. */
const PATIENCE = { timeout: 180_000 };

/**
 * The ways in which a few tokens are computed. Each kind of layer is another text to compile, which takes
 * seconds: only the first two try all kinds, and the last test of this file holds others to their bits.
 */
const WAYS: readonly (readonly [string, WebGpuOptions])[] = [
  ["registers", { tiling: "registers" }],
  ["registers, any order", { tiling: "registers", batchInvariant: false }],
];
const OTHER_WAYS: readonly (readonly [string, WebGpuOptions])[] = [
  ["registers, no subgroups", { tiling: "registers", features: [] }],
  ["workgroup, any order", { tiling: "workgroup", batchInvariant: false }],
  [
    "workgroup, any order, no subgroups",
    { tiling: "workgroup", batchInvariant: false, features: [] },
  ],
];

/** Sums that are longer than a walk's first step, and no multiple of it. */
const long = { ...small, hidden: 300, inner: 140 };

/** Who meets whom. */
const ROUTINGS: readonly (readonly [string, Partial<Layer>])[] = [
  ["nobody shares an expert", { experts: 40, choices: 1 }],
  ["one expert has all", { indices: new Array(16).fill(2) }],
  ["a token asks twice for one", { indices: [1, 1, 1, 2, 1, 1, 3, 3, 1, 0, 1, 1, 0, 0, 1, 2] }],
  ["nobody has an expert", { indices: new Array(16).fill(4) }],
  ["ids outside", { indices: Array.from({ length: 16 }, (_, i) => [-1, 9, 0, 3][i % 4] ?? 0) }],
  ["odd sizes", { hidden: 37, inner: 19, output: 23 }],
];

describe.skipIf(!gpu.available).each(WAYS)("moeFfn of a few tokens, %s", PATIENCE, (_, options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());
  const agrees = (layer: Layer): Promise<void> =>
    pair.agree((backend) => run(backend, layer), 3e-6);

  it.each([1, 8])("agrees for %i tokens", async (tokens) => {
    expect(await agrees({ ...small, tokens })).toBeUndefined();
    expect(await agrees({ ...long, tokens })).toBeUndefined();
  });

  it.each(ROUTINGS)("agrees when %s", async (_, change) => {
    for (const tokens of [8, 1]) {
      const layer = { ...small, ...change, tokens };
      const indices = change.indices?.slice(0, tokens * layer.choices);
      expect(await agrees({ ...layer, ...(indices && { indices }) })).toBeUndefined();
    }
  });

  const kinds = /^relu$|^interleaved|gpt-oss/;
  it.each(descriptors.filter(([name]) => kinds.test(name)))(
    "agrees with biases and input weights: %s",
    async (_, descriptor) => {
      for (const tokens of [1, 7]) {
        expect(
          await agrees({ ...small, tokens, descriptor, biases: true, inputWeights: true }),
        ).toBeUndefined();
      }
    },
  );

  it.each([1, 7])("reads half floats for %i tokens", async (tokens) => {
    expect(await agrees({ ...small, tokens, dtype: "f16" })).toBeUndefined();
  });

  it("repeats itself to the bit", async () => {
    for (const tokens of [1, 8]) {
      const inputs = inputsOf(pair.gpu, { ...long, tokens });
      const layer = { ...long, tokens };
      const all = await Promise.all([0, 1, 2].map(() => runOn(inputs, layer).read()));
      expect(all[1]).toEqual(all[0]);
      expect(all[2]).toEqual(all[0]);
    }
  });
});

describe.skipIf(!gpu.available).each(OTHER_WAYS)(
  "moeFfn of a few tokens, %s",
  PATIENCE,
  (_, options) => {
    it.each([1, 8])("agrees for %i tokens", async (tokens) => {
      const pair = await createPair(options);
      const layer: Layer = { ...long, tokens };
      expect(await pair.agree((backend) => run(backend, layer), 3e-6)).toBeUndefined();
      await pair.dispose();
    });
  },
);

describe.skipIf(!gpu.available)("moeFfn of a few tokens", PATIENCE, () => {
  const pairs = new Map<string, Promise<Pair>>();
  const outputsOf = async (options: WebGpuOptions, layer: Layer): Promise<number[]> => {
    const key = JSON.stringify(options);
    const made = pairs.get(key) ?? createPair(options);
    pairs.set(key, made);
    const y: Tensor = run((await made).gpu, layer);
    return [...(await y.read())] as number[];
  };
  afterAll(async () => {
    for (const pair of pairs.values()) await (await pair).dispose();
  });

  it("has the same bits with and without subgroups, shared experts and lanes", async () => {
    for (const [, change] of [["drawn", {}], ...ROUTINGS.slice(0, 3)] as const) {
      const layer: Layer = { ...long, experts: 3, ...change, tokens: 8 };
      const plain = await outputsOf({ tiling: "registers", features: [] }, layer);
      expect(await outputsOf({ tiling: "registers" }, layer)).toEqual(plain);
      expect(await outputsOf({ tiling: "workgroup" }, layer)).toEqual(plain);
    }
  });

  it("adds in another order where it may", async () => {
    const layer: Layer = { ...long, tokens: 1 };
    for (const tiling of ["registers", "workgroup"] as const) {
      const kept = await outputsOf({ tiling }, layer);
      const free = await outputsOf({ tiling, batchInvariant: false }, layer);
      const largest = Math.max(...kept.map(Math.abs));
      expect(free).not.toEqual(kept);
      for (const [i, value] of free.entries()) {
        expect(Math.abs(value - (kept[i] ?? Infinity))).toBeLessThan(1e-5 * largest);
      }
    }
  });
});
