import { type Backend, type HostArray, type Tensor, attention, slice } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../../testing/oracle.ts";
import {
  type LimitedSizes,
  type Limits,
  anySinks,
  attributesOf,
  inputs,
} from "../../../../../backend-webgpu/src/testing/limited-attention.ts";

/** More rows than go together row by row: these are tiles. */
const QUERIES = 9;
const VALUE_WIDTH = 6;

type Case = Required<Pick<LimitedSizes, "batch" | "heads" | "keyHeads" | "width" | "keys">> &
  Pick<Limits, "window" | "hidden" | "sinks">;

const PLAIN: Case = { batch: 1, heads: 16, keyHeads: 16, width: 128, keys: 336 };

const CASES: readonly (readonly [string, Case])[] = [
  ["tasks of several pairs", PLAIN],
  ["pairs that no equal tasks share", { ...PLAIN, heads: 10, keyHeads: 10 }],
  ["tasks that hold pairs of two sequences", { ...PLAIN, batch: 2, heads: 6, keyHeads: 6 }],
  [
    "more keys than a task of all pairs has room for",
    { ...PLAIN, heads: 5, keyHeads: 5, width: 4, keys: 60_000 },
  ],
  ["grouped heads in one task", { ...PLAIN, batch: 2, heads: 12, keyHeads: 6, width: 20 }],
  [
    "a window, a mask and sinks",
    {
      ...PLAIN,
      batch: 2,
      heads: 6,
      keyHeads: 3,
      window: 77,
      sinks: anySinks,
      hidden: (at) => at % 5 === 3,
    },
  ],
];

/** Gives the output of the last query of a case, run as the last of so many. */
function lastQuery(backend: Backend, given: Case): (count: number) => Promise<HostArray> {
  const { batch, heads, width, keys, hidden, sinks, window } = given;
  const [q, k, v] = inputs(backend, { ...given, queries: QUERIES, valueWidth: VALUE_WIDTH });
  const shown = Uint32Array.from({ length: batch * keys }, (_, at) => (hidden?.(at) ? 0 : 1));
  const mask = hidden && backend.tensor(shown, { shape: [batch, keys], dtype: "bool" });
  const sink = sinks?.(backend, heads);
  return (count) => {
    const start = QUERIES - count;
    const some = slice(q, { starts: [0, start, 0, 0], sizes: [batch, count, heads, width] });
    const position = keys - count;
    const attributes = attributesOf(window === undefined ? { position } : { position, window });
    const output = attention(some, k, v, mask, sink, attributes);
    return slice(output, {
      starts: [0, count - 1, 0, 0],
      sizes: [batch, 1, heads, VALUE_WIDTH],
    }).read();
  };
}

/** Keys or values by chance; those of the last key are not finite unless told otherwise. */
function cacheOf(backend: Backend, seed: number, last = Number.NaN): Tensor {
  const [tokens, width] = [50, 3 * 8];
  const values = Float32Array.from({ length: 2 * tokens * width }, (_, at) =>
    Math.floor(at / width) % tokens === tokens - 1 ? last : Math.sin(at * seed),
  );
  return backend.tensor(values, { shape: [2, tokens, 3, 8] });
}

describe.each([{ threads: 1 }, { threads: 3, exact: true }])("rows of attention, %o", (options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  it.each(CASES)("give the bits of tiles: %s", async (_, given) => {
    const run = lastQuery(pair.wasm, given);
    const tiles = await run(QUERIES);
    for (const count of [1, 2]) expect(await run(count)).toEqual(tiles);
  });

  it("give the bits of tiles where values that later ones see are not finite", async () => {
    const q = randomTensor(pair.wasm, 1, [2, 20, 6, 8]);
    const read = async (last?: number): Promise<HostArray> => {
      const [k, v] = [cacheOf(pair.wasm, 1, last), cacheOf(pair.wasm, 2, last)];
      return attention(q, k, v, undefined, undefined, attributesOf({ position: 30 })).read();
    };
    const [tiles, rows] = [await read(0), await read()];
    // The last query of each sequence alone sees the last key.
    const seen = Array.from(rows, (_, at) => Math.floor(at / (6 * 8)) % 20 === 19);
    expect(Array.from(rows, Number.isNaN)).toEqual(seen);
    expect(rows.filter((_, at) => !seen[at])).toEqual(tiles.filter((_, at) => !seen[at]));
  });
});
