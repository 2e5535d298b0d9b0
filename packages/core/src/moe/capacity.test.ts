import create from "@moiety/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError } from "../errors.ts";
import { hostUniform, randomKey } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { type CapacitySpec, applyCapacity, capacityOf } from "./capacity.ts";
import type { RouteContext } from "./routing.ts";

const backend = await create();

interface Case {
  readonly spec: CapacitySpec;
  readonly experts: number;
  readonly k: number;
  /** Choices of each token. */
  readonly chosen: number[][];
  readonly weights: number[][];
  readonly sequences: number[];
  readonly mask: boolean[] | undefined;
}

const upload = ({ chosen, weights, k, mask, sequences }: Case) => ({
  indices: backend.tensor(Int32Array.from(chosen.flat()), { shape: [chosen.length, k] }),
  weights: backend.tensor(weights.flat(), { shape: [chosen.length, k], dtype: "f64" }),
  context: {
    sequences,
    mask: mask && backend.tensor(mask, { shape: [mask.length], dtype: "bool" }),
  } satisfies RouteContext,
});

async function run(one: Case, context: RouteContext = {}): Promise<number[]> {
  const { indices, weights, context: own } = upload(one);
  const kept = applyCapacity(one.spec, indices, weights, one.experts, { ...own, ...context });
  expect(kept.shape).toEqual(indices.shape);
  return [...(await kept.read())];
}

/** Assignments come one by one in their order and take a place while there is one. */
function naive(one: Case, key?: readonly [number, number]): number[] {
  const { spec, experts, k, chosen, weights, mask } = one;
  const tokens = chosen.length;
  const sequences = spec.per === "sequence" ? one.sequences : [0, tokens];
  const all = chosen.flatMap((list, token) =>
    list.map((expert, choice) => ({ token, choice, expert, at: token * k + choice })),
  );
  const weight = (token: number, choice: number): number => weights[token]?.[choice] as number;
  const best = (token: number): number => Math.max(...(weights[token] as number[]));
  const draws = key ? hostUniform(key, tokens * k) : [];
  all.sort((a, b) => {
    switch (spec.order) {
      case "position":
        return a.at - b.at;
      case "choice":
        return a.choice - b.choice || a.token - b.token;
      case "probability":
        return weight(b.token, b.choice) - weight(a.token, a.choice) || a.at - b.at;
      case "prioritized":
        return a.choice - b.choice || best(b.token) - best(a.token) || a.token - b.token;
      case "random":
        return (draws[a.at] as number) - (draws[b.at] as number) || a.at - b.at;
    }
  });
  const taken = new Map<string, number>();
  const result = new Array<number>(tokens * k).fill(experts);
  for (const { token, expert, at } of all) {
    if (mask && !mask[token]) continue;
    if (expert >= experts) continue;
    const sequence = sequences.findIndex((end, index) => index > 0 && token < end) - 1;
    const length = (sequences[sequence + 1] ?? 0) - (sequences[sequence] ?? 0);
    const bucket = `${sequence}:${expert}`;
    const count = taken.get(bucket) ?? 0;
    if (count >= capacityOf(spec, length, k, experts)) continue;
    taken.set(bucket, count + 1);
    result[at] = expert;
  }
  return result;
}

const orders = ["position", "choice", "probability", "prioritized"] as const;

const cases: fc.Arbitrary<Case> = fc
  .record({
    experts: fc.integer({ min: 1, max: 6 }),
    lengths: fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 4 }),
    even: fc.boolean(),
    per: fc.constantFrom("batch" as const, "sequence" as const),
    order: fc.constantFrom(...orders, "random" as const),
    size: fc.oneof(
      fc.record({ absolute: fc.integer({ min: 0, max: 4 }) }),
      fc.record({
        factor: fc.constantFrom(0, 0.5, 1, 1.25, 100),
        rounding: fc.constantFrom(undefined, "ceil" as const, "floor" as const, "round" as const),
        minimum: fc.constantFrom(undefined, 0, 2),
        multipleOf: fc.constantFrom(undefined, 1, 4),
      }),
    ),
    masked: fc.boolean(),
    seed: fc.integer({ min: 0, max: 1e6 }),
  })
  .chain((base) =>
    fc.record({ base: fc.constant(base), k: fc.integer({ min: 1, max: base.experts }) }),
  )
  .map(({ base, k }) => {
    const { experts, per, order, size, masked, seed } = base;
    const lengths = base.even ? base.lengths.map(() => base.lengths[0] ?? 0) : base.lengths;
    const sequences = [0];
    for (const length of lengths) sequences.push((sequences.at(-1) ?? 0) + length);
    const tokens = sequences.at(-1) ?? 0;
    const random = hostUniform(randomKey(seed), tokens * (2 * experts + 1));
    const draw = (at: number): number => random[at] as number;
    const chosen = Array.from({ length: tokens }, (_, token) =>
      Array.from({ length: experts }, (_unused, expert) => expert)
        .sort((a, b) => draw(token * experts + a) - draw(token * experts + b))
        .slice(0, k)
        // Some routers leave places without an expert.
        .map((expert, choice) => (choice > 0 && draw(token) < 0.1 ? experts : expert)),
    );
    // Few values, so that there are ties.
    const weights = chosen.map((list, token) =>
      list.map((_, choice) => Math.floor(draw(tokens * experts + token * k + choice) * 4) / 4),
    );
    const mask = masked
      ? Array.from({ length: tokens }, (_, token) => draw(tokens * 2 * experts + token) < 0.8)
      : undefined;
    return { spec: { size, per, order }, experts, k, chosen, weights, sequences, mask };
  });

describe("applyCapacity", () => {
  it("keeps what plain loops keep, in every order, per batch and per sequence", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (one) => {
        const key = randomKey(7);
        expect(await run(one, { key })).toEqual(naive(one, key));
      }),
      { seed: 5, numRuns: 400 },
    );
  });

  const crowd = (order: CapacitySpec["order"], absolute: number, weights?: number[][]): Case => ({
    spec: { size: { absolute }, per: "batch", order },
    experts: 2,
    k: 1,
    chosen: [[0], [0], [0], [1]],
    weights: weights ?? [[0.1], [0.9], [0.9], [0.5]],
    sequences: [0, 4],
    mask: undefined,
  });

  it("fills an expert exactly, and drops nobody then", async () => {
    expect(await run(crowd("position", 3))).toEqual([0, 0, 0, 1]);
    expect(await run(crowd("position", 2))).toEqual([0, 0, 2, 1]);
    expect(await run(crowd("position", 2 ** 40))).toEqual([0, 0, 0, 1]);
  });

  it("keeps nobody at capacity 0", async () => {
    for (const order of orders) expect(await run(crowd(order, 0))).toEqual([2, 2, 2, 2]);
  });

  it("prefers the heaviest, and the earlier of equals", async () => {
    expect(await run(crowd("probability", 1))).toEqual([2, 0, 2, 1]);
    expect(await run(crowd("prioritized", 1))).toEqual([2, 0, 2, 1]);
    expect(await run(crowd("probability", 2, [[1], [1], [1], [1]]))).toEqual([0, 0, 2, 1]);
  });

  it("gives all first choices a place before any second", async () => {
    const one: Case = {
      spec: { size: { absolute: 1 }, per: "batch", order: "choice" },
      experts: 2,
      k: 2,
      chosen: [
        [0, 1],
        [1, 0],
      ],
      weights: [
        [0.9, 0.1],
        [0.6, 0.4],
      ],
      sequences: [0, 2],
      mask: undefined,
    };
    expect(await run(one)).toEqual([0, 2, 1, 2]);
    expect(await run({ ...one, spec: { ...one.spec, order: "position" } })).toEqual([0, 1, 2, 2]);
  });

  it("lets padding take no place", async () => {
    const one = { ...crowd("position", 1), mask: [false, true, true, true] };
    expect(await run(one)).toEqual([2, 0, 2, 1]);
  });

  it("drops by chance as the key says, and other tokens with another key", async () => {
    const tokens = 64;
    const one: Case = {
      ...crowd("random", 8),
      chosen: Array.from({ length: tokens }, () => [0]),
      weights: Array.from({ length: tokens }, () => [1]),
      sequences: [0, tokens],
    };
    const [first, same, other] = await Promise.all(
      [3, 3, 4].map((seed) => run(one, { key: randomKey(seed) })),
    );
    expect(first?.filter((expert) => expert === 0)).toHaveLength(8);
    expect(same).toEqual(first);
    expect(other).not.toEqual(first);
    await expect(run(one)).rejects.toMatchObject({ name: "ConfigError", key: "context.key" });
  });

  it("frees what it makes when it is called in a scope", () => {
    const { indices, weights, context } = upload(crowd("prioritized", 1));
    const before = backend.statistics().liveBuffers;
    const kept: Tensor = backend.scope(() =>
      applyCapacity(crowd("prioritized", 1).spec, indices, weights, 2, context),
    );
    kept.dispose();
    expect(backend.statistics().liveBuffers).toBe(before);
  });
});

describe("capacityOf", () => {
  const of = (size: CapacitySpec["size"]): number =>
    capacityOf({ size, per: "batch", order: "position" }, 10, 2, 8);

  it("takes an absolute number, or a factor of the even share", () => {
    expect(of({ absolute: 5 })).toBe(5);
    expect(of({ factor: 1 })).toBe(3);
    expect(of({ factor: 1, rounding: "floor" })).toBe(2);
    expect(of({ factor: 1, rounding: "round" })).toBe(3);
    expect(of({ factor: 1.25 })).toBe(4);
    expect(of({ factor: 0 })).toBe(0);
    expect(of({ factor: 0, minimum: 4 })).toBe(4);
    expect(of({ factor: 1.25, multipleOf: 8 })).toBe(8);
    expect(of({ factor: 3, minimum: 4, multipleOf: 4 })).toBe(8);
  });

  it("refuses sizes that make no sense, naming the key", () => {
    const bad: [CapacitySpec["size"], string][] = [
      [{ absolute: -1 }, "capacity.size.absolute"],
      [{ absolute: 1.5 }, "capacity.size.absolute"],
      [{ absolute: Number.POSITIVE_INFINITY }, "capacity.size.absolute"],
      [{ factor: -1 }, "capacity.size.factor"],
      [{ factor: Number.NaN }, "capacity.size.factor"],
      [{ factor: Number.POSITIVE_INFINITY }, "capacity.size.factor"],
      [{ factor: 1, minimum: -1 }, "capacity.size.minimum"],
      [{ factor: 1, multipleOf: 0 }, "capacity.size.multipleOf"],
    ];
    for (const [size, key] of bad) {
      const error = caught(() => of(size));
      expect(error).toBeInstanceOf(ConfigError);
      expect(error).toMatchObject({ key });
    }
    const spec = { size: { absolute: 1 }, per: "batch", order: "position" } as const;
    for (const changed of [{ per: "device" }, { order: "last" }]) {
      expect(() => capacityOf({ ...spec, ...changed } as CapacitySpec, 1, 1, 1)).toThrow(
        ConfigError,
      );
    }
  });
});

function caught(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
}
