import { type Tensor, attention, slice } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import {
  type LimitedSizes,
  type Limits,
  anySinks,
  attributesOf,
  inputs,
  outputAndGradients,
  sinksOf,
} from "../../testing/limited-attention.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

const LONG = { queries: 70, keys: 131, batch: 1, width: 20, valueWidth: 12 } as const;

const CASES: readonly (readonly [string, LimitedSizes, Limits])[] = [
  ...[1, 3, 8, 31, 64, 99, 100].map(
    (window) => [`a window of ${window}`, { queries: 100, keys: 100 }, { window }] as const,
  ),
  ...[5, 60, 131].map(
    (window) => [`a cache and a window of ${window}`, LONG, { position: 61, window }] as const,
  ),
  ...[1, 6, 100, 256, 295].map(
    (window) =>
      [
        `one query and a window of ${window}`,
        { queries: 1, keys: 400 },
        { position: 390, window },
      ] as const,
  ),
  [
    "a window and a mask",
    { queries: 40, keys: 61, heads: 4 },
    { position: 20, window: 9, hidden: (at) => at % 3 === 1 || at % 61 < 7 },
  ],
  [
    "grouped heads, odd widths",
    { queries: 30, keys: 130, heads: 6, width: 5, valueWidth: 7 },
    { position: 100, window: 11 },
  ],
  ["sinks", { queries: 20, keys: 20, heads: 4 }, { sinks: anySinks }],
  ["sinks of one query", { queries: 1, keys: 50, heads: 4 }, { position: 40, sinks: anySinks }],
  ["sinks of all keys", { queries: 9, keys: 33 }, { causal: false, sinks: anySinks }],
  ["sinks alone", { queries: 9, keys: 0 }, { causal: false, sinks: anySinks }],
  [
    "sinks where nothing is seen",
    { queries: 9, keys: 9, heads: 4 },
    { sinks: anySinks, window: 2, hidden: (at) => at < 9 || at % 9 < 4 },
  ],
  ["sinks of −30", { queries: 9, keys: 9 }, { sinks: sinksOf(-30) }],
  ["sinks of 10⁴", { queries: 9, keys: 9 }, { sinks: sinksOf(1e4, 0) }],
  ["the lowest sinks", { queries: 9, keys: 9 }, { sinks: sinksOf(-3e38, 0) }],
  [
    "all of them",
    { ...LONG, heads: 8, valueWidth: 29 },
    { position: 33, window: 21, sinks: anySinks, hidden: (at) => at % 5 === 2 },
  ],
];

describe.skipIf(!gpu.available).each(["registers", "workgroup"] as const)(
  "attention with windows and sinks through %s",
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each(CASES)("agrees with its gradients: %s", async (_, sizes, given) => {
      await pair.agree((backend) => outputAndGradients(backend, sizes, given), 2e-5);
    });

    it("gives a query the same bits in prefill, in decoding and under other queries", async () => {
      const [q, k, v] = inputs(pair.gpu, { batch: 1, queries: 100, keys: 100, heads: 4 });
      const sinks = anySinks(pair.gpu, 4);
      for (const window of [1, 13, 64]) {
        const run = (queries: Tensor, position: number): Promise<unknown> =>
          attention(queries, k, v, undefined, sinks, attributesOf({ position, window })).read();
        const all = (await run(q, 0)) as Float32Array;
        for (const [position, count] of [
          [0, 1],
          [5, 1],
          [64, 3],
          [99, 1],
          [13, 11],
        ] as const) {
          const some = slice(q, { starts: [0, position, 0, 0], sizes: [1, count, 4, 8] });
          const wanted = all.slice(position * 4 * 8, (position + count) * 4 * 8);
          expect(await run(some, position)).toEqual(wanted);
        }
      }
    });

    it("gives the bits of no window where the window holds every key", async () => {
      const read = async (window?: number): Promise<unknown> => {
        const given = window === undefined ? {} : { window };
        const outputs = outputAndGradients(pair.gpu, LONG, { position: 61, ...given });
        return Promise.all(outputs.map((output) => output.read()));
      };
      expect(await read(131)).toEqual(await read());
      expect(await read(2 ** 40)).toEqual(await read());
    });

    it("does not look at keys before every window", async () => {
      const [keys, window] = [60, 5];
      for (const queries of [1, 6, 20]) {
        const first = keys - queries - window + 1;
        const cache = (seed: number): Tensor => {
          const values = Float32Array.from({ length: keys * 8 }, (_, at) =>
            at < first * 8 ? Number.NaN : Math.sin(at * seed),
          );
          return pair.gpu.tensor(values, { shape: [1, keys, 1, 8] });
        };
        const [q, k, v] = [randomTensor(pair.gpu, 1, [1, queries, 2, 8]), cache(1), cache(2)];
        const run = (size: number): Promise<ArrayLike<number>> => {
          const given = attributesOf({ position: keys - queries, window: size });
          return attention(q, k, v, undefined, undefined, given).read();
        };
        expect(Array.from(await run(window), Number.isFinite)).not.toContain(false);
        // One key more, which is NaN: the first query alone sees it.
        const seen = Array.from(await run(window + 1), Number.isFinite);
        expect(seen).toEqual(Array.from({ length: queries * 16 }, (_, at) => at >= 16));
      }
    });

    it("lets a sink that is no number into its own head alone", async () => {
      for (const queries of [1, 20]) {
        const [q, k, v] = inputs(pair.gpu, { batch: 1, queries, keys: 20, heads: 4 });
        const sinks = sinksOf(0, Number.NaN, 1, 2)(pair.gpu, 4);
        const output = await attention(q, k, v, undefined, sinks, attributesOf({})).read();
        const heads = Array.from(output, (_, at) => Math.floor(at / 8) % 4);
        expect([...output].map(Number.isNaN)).toEqual(heads.map((head) => head === 1));
      }
    });
  },
);

describe.skipIf(!gpu.available)("attention with windows and sinks", () => {
  const sizes = { queries: 5, keys: 90, heads: 4, width: 4, valueWidth: 4 };
  const options = { position: 80, window: 7, sinks: anySinks };

  it("needs no more than the default limits", async () => {
    const pair = await createPair({ limits: "default", features: [] });
    const hidden = (at: number): boolean => at % 4 === 1;
    await pair.agree((backend) => outputAndGradients(backend, sizes, { ...options, hidden }), 2e-5);
    await pair.dispose();
  });

  it("cuts its work into pieces, in segments, without another bit", async () => {
    const pairs = await Promise.all([createPair({ segmentBytes: 1024 }), createPair()]);
    const outputs = await Promise.all(
      pairs.map(async (pair) => {
        await pair.agree((backend) => outputAndGradients(backend, sizes, options), 2e-5);
        return outputAndGradients(pair.gpu, sizes, options)[0]?.read();
      }),
    );
    expect(outputs[0]).toBeDefined();
    expect(outputs[0]).toEqual(outputs[1]);
    for (const pair of pairs) await pair.dispose();
  });
});
