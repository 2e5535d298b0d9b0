import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  ShapeError,
  UnsupportedError,
  apply,
  randomKey,
  slice,
} from "@moiety/core";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { tinyConfigs, tinyFamilies, tokens } from "../testing/tiny.ts";
import { type KeyValueCache, donateCache, emptyCache } from "./cache.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const make = (family: string): ReadyModel =>
  initModel(tinyConfigs[family] ?? {}, randomKey(5), { backend, dtype: "f64" });

describe.each(tinyFamilies)("%s with a cache", (family) => {
  it("gives the logits of one call, however the sequence is cut", async () => {
    const { model, params, state } = make(family);
    const ids = tokens(backend, 2, 9);
    const whole = (await apply(model, params, state, ids).logits.read()) as Float64Array;
    const width = model.config.vocabSize;
    let cache = emptyCache(model.config, { backend, batch: 2, capacity: 12, dtype: "f64" });
    let position = 0;
    for (const count of [4, 1, 3, 1]) {
      const part = slice(ids, { starts: [0, position], sizes: [2, count] });
      const output = apply(model, params, state, part, { cache: donateCache(cache) });
      const logits = (await output.logits.read()) as Float64Array;
      for (let row = 0; row < 2; row++) {
        const start = (row * 9 + position) * width;
        const expected = whole.slice(start, start + count * width);
        const actual = logits.slice(row * count * width, (row + 1) * count * width);
        for (const [index, value] of expected.entries()) {
          expect(actual[index]).toBeCloseTo(value, 10);
        }
      }
      position += count;
      if (!output.cache) throw new Error("no cache");
      ({ cache } = output);
      expect(cache.length).toBe(position);
    }
    expect(backend.statistics().refusedDonations).toBe(0);
  });

  it("keeps left padding out, call after call", async () => {
    const { model, params, state } = make(family);
    const ids = tokens(backend, 1, 6);
    const whole = (await apply(model, params, state, ids).logits.read()) as Float64Array;
    const padded = backend.tensor(Int32Array.of(0, 0, ...((await ids.read()) as Int32Array)), {
      shape: [1, 8],
    });
    const mask = backend.tensor([false, false, true, true, true], { shape: [1, 5] });
    const empty = emptyCache(model.config, {
      backend,
      capacity: 8,
      dtype: "f64",
      masked: true,
    });
    const part = (start: number, count: number) =>
      slice(padded, { starts: [0, start], sizes: [1, count] });
    const first = apply(model, params, state, part(0, 5), { cache: empty, mask });
    const second = apply(model, params, state, part(5, 3), { cache: first.cache });
    const logits = (await second.logits.read()) as Float64Array;
    const expected = whole.slice(-logits.length);
    for (const [index, value] of expected.entries()) expect(logits[index]).toBeCloseTo(value, 10);
  });
});

describe("a sequence that LongRoPE turns otherwise from some length on", () => {
  it("is not continued with keys that were turned the short way", async () => {
    const { model, params, state } = make("phimoe");
    const ids = tokens(backend, 1, 18);
    const part = (start: number, count: number) =>
      slice(ids, { starts: [0, start], sizes: [1, count] });
    const call = (start: number, count: number, cache: KeyValueCache) =>
      apply(model, params, state, part(start, count), { cache });
    const empty = (): KeyValueCache =>
      emptyCache(model.config, { backend, capacity: 18, dtype: "f64" });
    const { cache: full } = call(0, 16, empty());
    if (!full) throw new Error("no cache");
    expect(() => call(16, 1, full)).toThrow(UnsupportedError);
    expect(() => call(16, 1, full)).toThrow(/beyond 16 tokens/);
    const long = call(0, 17, empty());
    if (!long.cache) throw new Error("no cache");
    const last = (await call(17, 1, long.cache).logits.read()) as Float64Array;
    const whole = (await apply(model, params, state, ids).logits.read()) as Float64Array;
    for (const [at, value] of whole.slice(-last.length).entries()) {
      expect(last[at]).toBeCloseTo(value, 10);
    }
  });
});

describe("a cache that does not fit", () => {
  it("is refused by name", () => {
    const { model, params, state } = make("olmoe");
    const options = { backend, dtype: "f64" } as const;
    const call = (
      batch: number,
      count: number,
      cache = emptyCache(model.config, { ...options, capacity: 4 }),
    ) => apply(model, params, state, tokens(backend, batch, count), { cache });
    expect(() => call(1, 5)).toThrow(/holds 4 tokens and has 0; 5 more do not fit/);
    expect(() => call(1, 5)).toThrow(ShapeError);
    expect(() => call(2, 2)).toThrow(ConfigError);
    const mask = backend.tensor([true, true], { shape: [1, 2] });
    const cache = emptyCache(model.config, { ...options, capacity: 4 });
    expect(() => apply(model, params, state, tokens(backend, 1, 2), { cache, mask })).toThrow(
      /masked: true/,
    );
    expect(() => emptyCache(model.config, { ...options, capacity: 0 })).toThrow(ConfigError);
  });
});
