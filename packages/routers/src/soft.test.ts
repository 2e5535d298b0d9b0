import {
  ConfigError,
  type ExpertBank,
  ShapeError,
  type Tensor,
  gather,
  leavesOf,
  loadOf,
  mapTree,
  mixExperts,
  mul,
  randomKey,
  sum,
  tanh,
  valueAndGrad,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { gaussianNoise, gumbelNoise, learnedNoise } from "./noise.ts";
import { type SoftOptions, type SoftParams, softRouter } from "./soft.ts";
import {
  backend,
  distance,
  drawn,
  draws,
  f64,
  redrawn,
  rowsOf,
  softmaxOf,
  times,
  values,
} from "./testing/numbers.ts";

const [WIDTH, EXPERTS, SLOTS] = [3, 2, 2];
const TOTAL = EXPERTS * SLOTS;
const base: SoftOptions = { hiddenSize: WIDTH, numExperts: EXPERTS, numSlots: SLOTS };
const variants: readonly (readonly [string, SoftOptions])[] = [
  ["vmoe", base],
  ["lucidrains", { ...base, variant: "lucidrains" }],
  ["lucidrains, layer norm", { ...base, variant: "lucidrains", useLayernorm: true }],
];
/** y = tanh(slot) · (1 + its expert). */
const bank: ExpertBank<undefined> = {
  experts: EXPERTS,
  inputSize: WIDTH,
  outputSize: WIDTH,
  init: () => ({ params: undefined, state: {} }),
  forward: (_, rows) => {
    const count = rows.source.shape[0] ?? 0;
    const factors = Array.from(
      { length: count },
      (_, row) => 1 + Math.floor((row * EXPERTS) / count),
    );
    return mul(tanh(gather(rows)), f64(factors, [count, 1]));
  },
};
const started = (options: SoftOptions, seed = 5): SoftParams =>
  redrawn(softRouter(options).init(randomKey(1), { backend, dtype: "f64" }).params, seed);

type Rows = readonly (readonly number[])[];
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((total, value, at) => total + value * (b[at] as number), 0);

function norms(
  rows: Rows,
  options: SoftOptions,
  gamma: readonly number[],
  beta: readonly number[],
): number[][] {
  return rows.map((row) => {
    if (options.variant !== "lucidrains")
      return row.map((v) => v / Math.sqrt(dot(row, row) + 1e-6));
    if (!options.useLayernorm) {
      return row.map(
        (v, at) => (v / Math.sqrt(dot(row, row))) * Math.sqrt(WIDTH) * (gamma[at] as number),
      );
    }
    const mean = row.reduce((a, b) => a + b, 0) / WIDTH;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / WIDTH;
    return row.map(
      (v, at) =>
        ((v - mean) / Math.sqrt(variance + 1e-5)) * (gamma[at] as number) + (beta[at] as number),
    );
  });
}

/** One sequence of a layer with {@link bank}, by plain loops. */
async function layerByLoops(
  rows: Rows,
  options: SoftOptions,
  params: SoftParams,
): Promise<number[][]> {
  const own = async (side: "norm" | "slotNorm"): Promise<[number[], number[]]> => [
    await values(params[side]?.gamma),
    await values(params[side]?.beta),
  ];
  const x = norms(rows, options, ...(await own("norm")));
  const slots = norms(
    await rowsOf(params.slots.reshape([TOTAL, WIDTH])),
    options,
    ...(await own("slotNorm")),
  );
  const scale = params.scale ? await params.scale.item() : 1;
  const logits = times(x, slots).map((row) => row.map((value) => value * scale));
  const source = options.variant === "lucidrains" ? x : rows;
  const outputs = slots.map((_, slot) => {
    const taking = softmaxOf(logits.map((row) => row[slot] as number));
    const factor = 1 + Math.floor(slot / SLOTS);
    return Array.from(
      { length: WIDTH },
      (_, at) =>
        factor *
        Math.tanh(
          source.reduce((total, row, t) => total + (taking[t] as number) * (row[at] as number), 0),
        ),
    );
  });
  return logits.map((row) => {
    const giving = softmaxOf(row);
    return Array.from({ length: WIDTH }, (_, at) =>
      outputs.reduce(
        (total, out, slot) => total + (giving[slot] as number) * (out[at] as number),
        0,
      ),
    );
  });
}

const run = (options: SoftOptions, params: SoftParams, x: Tensor, context = {}): Tensor =>
  mixExperts(bank, undefined, x, softRouter(options).route(params, {}, x, context));

describe.each(variants)("softRouter of %s", (_, options) => {
  const params = started(options);

  it("mixes tokens into slots and slots into tokens, for each sequence", async () => {
    const x = drawn(2, [10, WIDTH]);
    const rows = await rowsOf(x);
    const wanted = [
      ...(await layerByLoops(rows.slice(0, 5), options, params)),
      ...(await layerByLoops(rows.slice(5), options, params)),
    ];
    const output = await values(run(options, params, x, { sequences: [0, 5, 10] }));
    expect(distance(output, wanted.flat())).toBeLessThan(1e-12);
    const routing = softRouter(options).route(params, {}, x, { sequences: [0, 5, 10] });
    expect(routing.dispatch.shape).toEqual([2, 5, TOTAL]);
    expect(await values(loadOf(routing))).toEqual([4, 4]);
    expect(routing).toMatchObject({ kind: "soft", experts: EXPERTS, slots: SLOTS });
    expect(routing.logits.shape).toEqual([10, TOTAL]);
  });

  it("is what it would be without its padding, which gets 0", async () => {
    const rows = await rowsOf(drawn(2, [5, WIDTH]));
    const keep = [true, false, true, true, false];
    const junk = rows.map((row, token) => (keep[token] ? row : row.map(() => Number.NaN)));
    const alone = await layerByLoops(
      rows.filter((_, t) => keep[t]),
      options,
      params,
    );
    const found = await rowsOf(
      run(options, params, f64(junk.flat(), [5, WIDTH]), { mask: backend.tensor(keep) }),
    );
    const live = found.filter((_, t) => keep[t]);
    expect(distance(live.flat(), alone.flat())).toBeLessThan(1e-12);
    expect(found[1]?.every((value) => value === 0)).toBe(true);
  });

  it("keeps NaN with its token", async () => {
    const rows = await rowsOf(drawn(2, [5, WIDTH]));
    const alone = await layerByLoops(rows.toSpliced(3, 1), options, params);
    rows[3] = [0, Number.NaN, 1];
    const found = await rowsOf(run(options, params, f64(rows.flat(), [5, WIDTH])));
    expect(found[3]?.every(Number.isNaN)).toBe(true);
    expect(distance(found.toSpliced(3, 1).flat(), alone.flat())).toBeLessThan(1e-12);
  });

  it("has the gradients of a whole layer", async () => {
    const given = { params, x: drawn(3, [4, WIDTH]) };
    const upstream = drawn(4, [4, WIDTH]);
    const mask = backend.tensor([true, true, false, true]);
    const loss = (own: typeof given): Tensor =>
      sum(mul(run(options, own.params, own.x, { mask }), upstream));
    const { grads } = valueAndGrad(loss)(given);
    const slopes = new Map(leavesOf(grads).map(({ path, leaf }) => [path, leaf as Tensor]));
    for (const { path, leaf } of leavesOf(given)) {
      if (path.endsWith("beta")) {
        expect(slopes.get(path), "a constant of the source").toBeUndefined();
        continue;
      }
      const data = await values(leaf as Tensor);
      const found = await values(slopes.get(path));
      for (const [at, value] of data.entries()) {
        const moved = (by: number): Promise<number> => {
          const other = f64(data.with(at, value + by), (leaf as Tensor).shape);
          return loss(
            mapTree(given, (kept, where) => (where === path ? other : kept)) as typeof given,
          ).item();
        };
        const difference = ((await moved(1e-6)) - (await moved(-1e-6))) / 2e-6;
        expect(found[at], `${path}[${at}]`).toBeCloseTo(difference, 6);
      }
    }
  });

  it("says the shapes that init draws", () => {
    const router = softRouter(options);
    const { params: own, state } = router.init(randomKey(1), { backend });
    const shapes = leavesOf(own).map(({ path, leaf }) => [path, (leaf as Tensor).shape]);
    const flat = (tree: unknown, path = ""): (readonly [string, unknown])[] =>
      Array.isArray(tree)
        ? [[path, tree]]
        : Object.entries(tree as object).flatMap(([key, child]) =>
            flat(child, path ? `${path}.${key}` : key),
          );
    expect(flat(router.shapes)).toEqual(shapes);
    expect([state, router.stateShapes]).toEqual([{}, {}]);
  });
});

describe("softRouter", () => {
  it("adds noise to its logits in training, Gaussian or Gumbel", async () => {
    const x = drawn(2, [4, WIDTH]);
    const noise = drawn(6, [4, TOTAL]);
    const params = started(base);
    for (const kind of [gaussianNoise(0.5), gumbelNoise(0.5)] as const) {
      const router = softRouter({ ...base, noise: kind });
      const clean = await values(router.route(params, {}, x, { noise }).logits);
      const noisy = await values(router.route(params, {}, x, { noise, training: true }).logits);
      const wanted = clean.map((value, at) => value + 0.5 * (draws(6, 4 * TOTAL)[at] as number));
      expect(distance(noisy, wanted)).toBeLessThan(1e-12);
      expect(() => router.route(params, {}, x, { training: true })).toThrow(/key/);
    }
  });

  it("takes float32 and no tokens", () => {
    const router = softRouter(base);
    const { params } = router.init(randomKey(1), { backend });
    const none = backend.tensor([], { shape: [0, WIDTH] });
    expect(router.route(params, {}, none).dispatch.shape).toEqual([1, 0, TOTAL]);
  });

  it("refuses what makes no sense", () => {
    const bad: readonly (readonly [Partial<SoftOptions>, RegExp])[] = [
      [{ numSlots: 0 }, /numSlots/],
      [{ numExperts: 1.5 }, /numExperts/],
      [{ variant: "other" as never }, /other/],
      [{ useLayernorm: true }, /useLayernorm/],
      [{ initializerRange: 0 }, /initializerRange/],
      [{ noise: learnedNoise() }, /noise/],
    ];
    for (const [options, message] of bad) {
      expect(() => softRouter({ ...base, ...options })).toThrow(ConfigError);
      expect(() => softRouter({ ...base, ...options })).toThrow(message);
    }
    const router = softRouter(base);
    const params = started(base);
    const x = drawn(1, [5, WIDTH]);
    expect(() => router.route(params, {}, x, { sequences: [0, 2, 5] })).toThrow(
      /equal length.*2, 3/,
    );
    expect(() => router.route({ slots: params.slots }, {}, x)).toThrow(/scale/);
    expect(() => router.route({ ...params, slots: drawn(1, [2, 3, 3]) }, {}, x)).toThrow(
      ShapeError,
    );
    expect(() => router.route(params, {}, x, { mask: backend.tensor([true]) })).toThrow(ShapeError);
  });
});
