import create, { cpuDriver } from "@moiety/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Backend, Driver, RunCall } from "../contract.ts";
import { defineBackend } from "../engine.ts";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { apply, checkpoint } from "../forward.ts";
import { valueAndGrad } from "../gradient.ts";
import type { Module } from "../module.ts";
import { add, mul } from "../ops/arithmetic.ts";
import { sum } from "../ops/reduction.ts";
import { hostNormal, randomKey } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { routeTopK, routeTopKBackward } from "./route-top-k.ts";
import type { RouteAttributes } from "./stages.ts";

const backend: Backend = await create();
const f64 = (data: readonly number[], shape: readonly number[], on: Backend = backend): Tensor =>
  on.tensor([...data], { shape, dtype: "f64" });
const values = async (tensor: Tensor | null): Promise<number[] | null> =>
  tensor && [...(await tensor.read())];
const rows = (flat: ArrayLike<number>, width: number): number[][] =>
  Array.from({ length: flat.length / width }, (_, row) =>
    Array.from({ length: width }, (_unused, column) => flat[row * width + column] as number),
  );
const draws = (seed: number, count: number, scale = 1): number[] =>
  [...hostNormal(randomKey(seed), count)].map((draw) => draw * scale);
const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
/** Indices of a list by (value descending, index ascending). */
const ranked = (list: readonly number[]): number[] =>
  list.map((_, index) => index).sort((a, b) => (list[b] as number) - (list[a] as number) || a - b);

/** One token's scores and weights by plain loops, and its choice unless it is given. */
function naive(
  spec: RouteAttributes,
  raw: readonly number[],
  bias: readonly number[] | undefined,
  given?: readonly number[],
): { scores: number[]; indices: number[]; weights: number[] } {
  const squashed = raw.map((logit) => {
    const warm = logit / (spec.temperature ?? 1);
    return spec.softcap ? spec.softcap * Math.tanh(warm / spec.softcap) : warm;
  });
  const softmax = (list: readonly number[]): number[] => {
    const peak = Math.max(...list);
    const powers = list.map((value) => Math.exp(value - peak));
    return powers.map((power) => power / total(powers));
  };
  const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));
  const scores = {
    softmax: () => softmax(squashed),
    sigmoid: () => squashed.map(sigmoid),
    sqrtSoftplus: () => squashed.map((value) => Math.sqrt(Math.log1p(Math.exp(value)))),
    identity: () => squashed,
  }[spec.score]();
  const compared = (spec.selectBy === "logits" ? squashed : scores).map(
    (value, expert) => value + (bias?.[expert] ?? 0),
  );
  const { groups } = spec;
  let candidates = compared.map((_, expert) => expert);
  let ranking = compared;
  if (groups) {
    const size = raw.length / groups.count;
    const best = groups.score === "max" ? 1 : Math.min(groups.score.top, size);
    const groupScores = Array.from({ length: groups.count }, (_, group) =>
      total(
        compared
          .slice(group * size, (group + 1) * size)
          .sort((a, b) => b - a)
          .slice(0, best),
      ),
    );
    const open = new Set(ranked(groupScores).slice(0, groups.topK));
    const isOpen = (expert: number): boolean => open.has(Math.floor(expert / size));
    if (groups.fill === "mask") candidates = candidates.filter(isOpen);
    else ranking = compared.map((value, expert) => (isOpen(expert) ? value : 0));
  }
  const indices =
    given ??
    ranked(ranking)
      .filter((expert) => candidates.includes(expert))
      .slice(0, spec.topK);
  const chosen = (list: readonly number[]): number[] =>
    indices.map((expert) => list[expert] as number);
  let weights = {
    scores: () => chosen(scores),
    softmaxOfChosen: () => softmax(chosen(squashed)),
    sigmoidOfChosen: () => chosen(squashed).map(sigmoid),
  }[spec.weight ?? "scores"]();
  const how = spec.renormalize;
  if (how?.when === "after") return { scores, indices: [...indices], weights };
  if (how && !(how.skipSingle && spec.topK === 1)) {
    const p = how.p ?? 1;
    const norm = total(weights.map((weight) => weight ** p)) ** (1 / p);
    const epsilon = how.epsilon === "machine" ? 2 ** -52 : (how.epsilon ?? 0);
    const divisor = how.guard === "max" ? Math.max(norm, epsilon) : norm + epsilon;
    weights = weights.map((weight) => weight / divisor);
  }
  return { scores, indices: [...indices], weights: weights.map((w) => w * (spec.scale ?? 1)) };
}

const EXPERTS = 8;

/** Specs over eight experts, in all their variety. */
const specs: fc.Arbitrary<RouteAttributes> = fc.record({
  topK: fc.constantFrom(1, 2, 4),
  temperature: fc.constantFrom(undefined, 0.5, 3),
  softcap: fc.constantFrom(undefined, 2),
  score: fc.constantFrom("softmax", "sigmoid", "sqrtSoftplus", "identity"),
  selectBy: fc.constantFrom(undefined, "scores", "logits"),
  bias: fc.boolean(),
  groups: fc.constantFrom(
    undefined,
    { count: 4, topK: 2, score: "max", fill: "mask" },
    { count: 2, topK: 1, score: { top: 2 }, fill: "zero" },
    { count: 4, topK: 3, score: { top: 2 }, fill: "mask" },
    { count: 8, topK: 5, score: { top: 2 }, fill: "zero" },
  ),
  weight: fc.constantFrom(undefined, "scores", "softmaxOfChosen", "sigmoidOfChosen"),
  renormalize: fc.constantFrom(
    undefined,
    {},
    { p: 2 },
    { epsilon: 1e-3 },
    { epsilon: "machine", guard: "max" },
    { epsilon: 0.3, guard: "max" },
    { skipSingle: true },
    { when: "after" },
  ),
  scale: fc.constantFrom(undefined, 1, 2.5),
} as const);

/** Negative weights have no norm of other orders, and may add up to about 0. */
const isSensible = (spec: RouteAttributes): boolean =>
  spec.score !== "identity" || spec.weight === "softmaxOfChosen" || spec.renormalize === undefined;

describe("routeTopK", () => {
  it("does what its definition says, for every kind of spec", async () => {
    await fc.assert(
      fc.asyncProperty(specs.filter(isSensible), fc.nat(1e6), async (spec, seed) => {
        const logits = draws(seed, 3 * EXPERTS, 2);
        const bias = spec.bias ? draws(seed + 1, EXPERTS, 0.5) : undefined;
        const [scores, indices, weights] = routeTopK(
          f64(logits, [3, EXPERTS]),
          bias && f64(bias, [EXPERTS]),
          undefined,
          spec,
        );
        const expected = rows(logits, EXPERTS).map((row) => naive(spec, row, bias));
        expect(await values(indices)).toEqual(expected.flatMap((token) => token.indices));
        for (const [found, wanted] of [
          [await values(scores), expected.flatMap((token) => token.scores)],
          [await values(weights), expected.flatMap((token) => token.weights)],
        ] as const) {
          expect(found).toHaveLength(wanted.length);
          wanted.forEach((value, at) => expect(found?.[at]).toBeCloseTo(value, 12));
        }
      }),
      { seed: 11, numRuns: 150 },
    );
  });

  it("has the gradient of its weights and scores, the choice held fixed", async () => {
    await fc.assert(
      fc.asyncProperty(specs.filter(isSensible), fc.nat(1e6), async (spec, seed) => {
        const logits = draws(seed, 2 * EXPERTS, 2);
        const bias = spec.bias ? draws(seed + 1, EXPERTS, 0.5) : undefined;
        const ofScores = draws(seed + 2, 2 * EXPERTS);
        const ofWeights = draws(seed + 3, 2 * spec.topK);
        const params = {
          logits: f64(logits, [2, EXPERTS]),
          ...(bias && { bias: f64(bias, [EXPERTS]) }),
        };
        const { loss, grads, aux } = valueAndGrad((p: { logits: Tensor; bias?: Tensor }) => {
          const [scores, indices, weights] = routeTopK(p.logits, p.bias, undefined, spec);
          expect(indices.traced).toBe(false);
          const parts = [
            sum(mul(scores, f64(ofScores, scores.shape))),
            sum(mul(weights, f64(ofWeights, weights.shape))),
          ] as const;
          return { loss: add(...parts), aux: indices };
        })(params);
        const chosen = rows((await values(aux)) ?? [], spec.topK);
        const value = (at: readonly number[]): number =>
          total(
            rows(at, EXPERTS).flatMap((row, token) => {
              const found = naive(spec, row, bias, chosen[token]);
              return [
                ...found.scores.map((s, e) => s * (ofScores[token * EXPERTS + e] as number)),
                ...found.weights.map((w, j) => w * (ofWeights[token * spec.topK + j] as number)),
              ];
            }),
          );
        expect(await loss.item()).toBeCloseTo(value(logits), 10);
        expect(grads.bias ?? null).toBeNull();
        const slopes = (await values(grads.logits)) ?? [];
        const step = 1e-6;
        logits.forEach((logit, at) => {
          const moved = (by: number): number => value(logits.with(at, logit + by));
          expect(slopes[at]).toBeCloseTo((moved(step) - moved(-step)) / (2 * step), 6);
        });
      }),
      { seed: 12, numRuns: 60 },
    );
  });

  it("gives ties to the lower index, and NaN the last place", async () => {
    const spec = { topK: 3, score: "identity" } as const;
    const logits = f64([1, 2, 2, 1, 2, 0, Number.NaN, -1, -2, Number.NaN], [2, 5]);
    const [, indices] = routeTopK(logits, undefined, undefined, spec);
    expect(await values(indices)).toEqual([1, 2, 4, 0, 2, 3]);
  });

  it("keeps a NaN token's NaN to that token", async () => {
    const spec = { topK: 2, score: "softmax", renormalize: {} } as const;
    const nan = Number.NaN;
    const [, indices, weights] = routeTopK(
      f64([nan, nan, nan, 0, 0, 0], [2, 3]),
      undefined,
      undefined,
      spec,
    );
    expect(await values(indices)).toEqual([0, 1, 0, 1]);
    expect(await values(weights)).toEqual([nan, nan, 0.5, 0.5]);
  });

  it("chooses no expert where too few are allowed", async () => {
    const mask = backend.tensor([false, true, false, true, true, true, false, false, false], {
      shape: [3, 3],
    });
    for (const weight of ["scores", "softmaxOfChosen", "sigmoidOfChosen"] as const) {
      const spec = { topK: 2, score: "sigmoid", weight } as const;
      const logits = f64([9, 1, 8, 0, 3, 2, 1, 2, 3], [3, 3]);
      const [, indices, weights] = routeTopK(logits, undefined, mask, spec);
      expect(await values(indices)).toEqual([1, 3, 1, 2, 3, 3]);
      const found = (await values(weights)) ?? [];
      expect(found[0]).toBeCloseTo(weight === "softmaxOfChosen" ? 1 : 1 / (1 + Math.exp(-1)), 12);
      expect([found[1], found[4], found[5]]).toEqual([0, 0, 0]);
    }
  });

  it("never fills up from closed groups when allowed experts run out", async () => {
    const groups = { count: 2, topK: 1, score: "max", fill: "mask" } as const;
    const mask = backend.tensor([true, false, true, true], { shape: [1, 4] });
    const [, indices] = routeTopK(f64([9, 8, 1, 1], [1, 4]), undefined, mask, {
      topK: 2,
      score: "identity",
      groups,
    });
    expect(await values(indices)).toEqual([0, 4]);
  });

  it("lets a zero of a closed group beat a negative score only where the spec says so", async () => {
    const spec = (fill: "mask" | "zero") =>
      ({ topK: 2, score: "identity", groups: { count: 2, topK: 1, score: "max", fill } }) as const;
    const logits = f64([3, -1, 2, 2], [1, 4]);
    const chosen = async (fill: "mask" | "zero"): Promise<number[] | null> =>
      values(routeTopK(logits, undefined, undefined, spec(fill))[1]);
    expect(await chosen("mask")).toEqual([0, 1]);
    expect(await chosen("zero")).toEqual([0, 2]);
  });

  it("takes no tokens at all", () => {
    const [scores, indices, weights] = routeTopK(f64([], [0, 4]), undefined, undefined, {
      topK: 2,
      score: "softmax",
      renormalize: {},
      groups: { count: 2, topK: 1, score: "max", fill: "mask" },
    });
    expect([scores.shape, indices.shape, weights.shape]).toEqual([
      [0, 4],
      [0, 2],
      [0, 2],
    ]);
  });

  it("refuses bad input by name", () => {
    const spec = { topK: 2, score: "softmax" } as const;
    const logits = f64([1, 2, 3, 4], [1, 4]);
    const call = (bias?: Tensor, mask?: Tensor, changed: object = {}) =>
      routeTopK(logits, bias, mask, { ...spec, ...changed });
    expect(() => routeTopK(f64([1], [1]), undefined, undefined, spec)).toThrow(ShapeError);
    expect(() => call(f64([1, 2], [2]))).toThrow(ShapeError);
    expect(() => call(backend.tensor([1, 2, 3, 4]))).toThrow(DTypeError);
    expect(() => call(undefined, backend.tensor([true, true]))).toThrow(ShapeError);
    expect(() => call(undefined, logits)).toThrow(DTypeError);
    expect(() => call(undefined, undefined, { topK: 5 })).toThrow(ConfigError);
    expect(() => call(undefined, undefined, { score: "softmaxx" })).toThrow(/score/);
    expect(() =>
      routeTopK(backend.tensor(new Int32Array(4), { shape: [1, 4] }), undefined, undefined, spec),
    ).toThrow(DTypeError);
  });
});

describe("routeTopK of a backend that has kernels for it", () => {
  it("runs fused, forward and backward, and keeps its choice under a checkpoint", async () => {
    const spec = {
      topK: 2,
      score: "sigmoid",
      renormalize: { epsilon: 1e-20 },
      scale: 2.5,
    } as const;
    const logits = draws(5, 4 * EXPERTS);
    const upstream = draws(6, 4 * 2);
    const weigh = (p: { logits: Tensor }): Tensor => {
      const [, , weights] = routeTopK(p.logits, undefined, undefined, spec);
      return sum(mul(weights, f64(upstream, [4, 2], p.logits.backend)));
    };
    const lean: Module<{ logits: Tensor }, object, [], Tensor> = {
      init: () => ({ params: { logits: f64([], [0, EXPERTS]) }, state: {} }),
      *forward(params) {
        return yield* checkpoint(function* () {
          return weigh(params);
        });
      },
    };
    const run = async (on: Backend, loss: typeof weigh): Promise<number[] | null> => {
      on.resetRecord();
      return values(valueAndGrad(loss)({ logits: f64(logits, [4, EXPERTS], on) }).grads.logits);
    };
    const checkpointed = (p: { logits: Tensor }): Tensor => apply(lean, p, {});
    const fused = defineBackend(fusedDriver());
    const plain = await run(backend, weigh);
    const direct = await run(fused, weigh);
    expect(fused.record()["routeTopK"]).toEqual({ kernel: 1, decomposed: 0 });
    expect(fused.record()["routeTopKBackward"]).toEqual({ kernel: 1, decomposed: 0 });
    const again = await run(fused, checkpointed);
    // The forward ran as a kernel; the recomputation weighs the kept choice.
    expect(fused.record()["routeTopK"]?.kernel).toBe(1);
    const plainAgain = await run(backend, checkpointed);
    expect(plainAgain).toEqual(plain);
    for (const found of [direct, again]) {
      plain?.forEach((value, at) => expect(found?.[at]).toBeCloseTo(value, 6));
    }
  });

  it("has a backward op and a replay that agree with the definition", async () => {
    const spec = { topK: 2, score: "softmax", softcap: 3, renormalize: {} } as const;
    const logits = f64(draws(7, 3 * EXPERTS), [3, EXPERTS]);
    const upstream = f64(draws(8, 3 * 2), [3, 2]);
    const { grads, aux } = valueAndGrad((p: { logits: Tensor }) => {
      const routed = routeTopK(p.logits, undefined, undefined, spec);
      return { loss: sum(mul(routed[2], upstream)), aux: routed };
    })({ logits });
    const backward = routeTopKBackward(logits, aux[1], undefined, upstream, spec);
    expect(await values(backward)).toEqual(await values(grads.logits));
    const replayed = routeTopK.definition.replay?.([logits], { ...spec }, [aux[1]]) ?? [];
    for (const [index, tensor] of aux.entries()) {
      expect(await values(replayed[index] ?? null)).toEqual(await values(tensor));
    }
    const unreached = routeTopKBackward(logits, aux[1], undefined, undefined, spec);
    expect(await values(unreached)).toEqual(new Array(3 * EXPERTS).fill(0));
  });
});

type Handle = ReturnType<ReturnType<typeof cpuDriver>["allocate"]>;

/** The oracle with kernels for the fused ops, in plain loops and central differences. */
function fusedDriver(): Driver<Handle> {
  const inner = cpuDriver();
  const read = (call: RunCall<Handle>, at: number): number[] => {
    const input = call.inputs[at];
    if (!input) return [];
    const { block } = input.handle;
    return [...(input.dtype === "i32" ? new Int32Array(block) : new Float64Array(block))];
  };
  const give = (spec: RunCall<Handle>["outputs"][number], data: number[]): Handle => {
    const handle = inner.allocate(spec);
    const array = spec.dtype === "i32" ? Int32Array.from(data) : Float64Array.from(data);
    inner.write(handle, 0, new Uint8Array(array.buffer));
    return handle;
  };
  const forward = (call: RunCall<Handle>): Handle[] => {
    const tokens = rows(read(call, 0), EXPERTS).map((row) =>
      naive(call.attributes as unknown as RouteAttributes, row, undefined),
    );
    const found = [
      tokens.flatMap((token) => token.scores),
      tokens.flatMap((token) => token.indices),
      tokens.flatMap((token) => token.weights),
    ];
    return call.outputs.map((spec, index) => give(spec, found[index] ?? []));
  };
  const backward = (call: RunCall<Handle>): Handle[] => {
    const spec = call.attributes as unknown as RouteAttributes;
    const logits = read(call, 0);
    const chosen = rows(read(call, 1), spec.topK);
    const upstream = read(call, 3);
    const value = (at: readonly number[]): number =>
      total(
        rows(at, EXPERTS)
          .flatMap((row, token) => naive(spec, row, undefined, chosen[token]).weights)
          .map((weight, at) => weight * (upstream[at] as number)),
      );
    const slopes = logits.map((logit, at) => {
      const moved = (by: number): number => value(logits.with(at, logit + by));
      return (moved(1e-6) - moved(-1e-6)) / 2e-6;
    });
    return call.outputs.map((output) => give(output, slopes));
  };
  const kernels = new Map([
    ["routeTopK", forward],
    ["routeTopKBackward", backward],
  ]);
  return {
    specVersion: 1,
    name: "fused",
    capabilities: { ...inner.capabilities, ops: [...inner.capabilities.ops, ...kernels.keys()] },
    allocate: (spec) => inner.allocate(spec),
    write: (handle, offset, bytes) => inner.write(handle, offset, bytes),
    read: (handle, offset, length) => inner.read(handle, offset, length),
    free: (handle) => inner.free(handle),
    run: (call) => (kernels.get(call.op.name) ?? ((own) => inner.run(own)))(call),
    sync: () => inner.sync(),
    statistics: () => inner.statistics(),
    dispose: () => inner.dispose(),
  };
}
