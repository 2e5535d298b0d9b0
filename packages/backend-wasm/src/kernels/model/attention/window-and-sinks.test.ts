import { type Tensor, attention, slice } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../../testing/oracle.ts";
import {
  type LimitedSizes,
  type Limits,
  anySinks,
  attributesOf,
  inputs,
  outputAndGradients,
  sinksOf,
} from "../../../../../backend-webgpu/src/testing/limited-attention.ts";

const LONG = { queries: 70, keys: 131, batch: 1, width: 20, valueWidth: 12 } as const;

const CASES: readonly (readonly [string, LimitedSizes, Limits])[] = [
  ...[1, 2, 7, 8, 9, 16, 31, 60, 99, 100, 101].map(
    (window) => [`a window of ${window}`, { queries: 100, keys: 100 }, { window }] as const,
  ),
  ...[1, 5, 8, 24, 130, 131].map(
    (window) => [`a cache and a window of ${window}`, LONG, { position: 61, window }] as const,
  ),
  ...[1, 6, 8, 100, 295].map(
    (window) =>
      [
        `one query and a window of ${window}`,
        { queries: 1, keys: 300 },
        { position: 290, window },
      ] as const,
  ),
  ["some queries", { queries: 3, keys: 40, heads: 6 }, { position: 30, window: 4 }],
  [
    "a window and a mask",
    { queries: 40, keys: 61, heads: 4 },
    { position: 20, window: 9, hidden: (at) => at % 3 === 1 || at % 61 < 7 },
  ],
  ["grouped heads", { queries: 30, keys: 30, heads: 6 }, { window: 11 }],
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

describe.each([{ threads: 1 }, { threads: 3, exact: true }])(
  "attention with windows and sinks, %o",
  (options) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair(options);
    });
    afterAll(() => pair.dispose());

    it.each(CASES)("agrees with its gradients: %s", async (_, sizes, given) => {
      await pair.agree((backend) => outputAndGradients(backend, sizes, given), 2e-5);
    });

    it("gives a query the same bits in prefill, in decoding and under other queries", async () => {
      const [q, k, v] = inputs(pair.wasm, { batch: 1, queries: 100, keys: 100, heads: 4 });
      const sinks = anySinks(pair.wasm, 4);
      for (const window of [1, 5, 8, 13, 64]) {
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
        const outputs = outputAndGradients(pair.wasm, LONG, { position: 61, ...given });
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
          return pair.wasm.tensor(values, { shape: [1, keys, 1, 8] });
        };
        const [q, k, v] = [randomTensor(pair.wasm, 1, [1, queries, 2, 8]), cache(1), cache(2)];
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
        const [q, k, v] = inputs(pair.wasm, { batch: 1, queries, keys: 20, heads: 4 });
        const sinks = sinksOf(0, Number.NaN, 1, 2)(pair.wasm, 4);
        const output = await attention(q, k, v, undefined, sinks, attributesOf({})).read();
        const heads = Array.from(output, (_, at) => Math.floor(at / 8) % 4);
        expect([...output].map(Number.isNaN)).toEqual(heads.map((head) => head === 1));
      }
    });
  },
);

it("gives the same bits with any number of threads", async () => {
  const sizes = { queries: 130, keys: 130, heads: 4, width: 24, valueWidth: 24 };
  const found: unknown[] = [];
  for (const threads of [1, 2, 3]) {
    const pair = await createPair({ threads });
    const outputs = outputAndGradients(pair.wasm, sizes, { window: 37, sinks: anySinks });
    found.push(await Promise.all(outputs.map((tensor) => tensor.read())));
    await pair.dispose();
  }
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).toEqual(found[0]);
});
