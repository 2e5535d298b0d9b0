import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  DTypeError,
  ShapeError,
  UnsupportedError,
  apply,
  applyAsync,
  leavesOf,
  randomKey,
} from "@moiety/core";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { tinyConfigs, tokens } from "../testing/tiny.ts";
import { shapesByPath } from "../tree.ts";
import type { AttentionConfig } from "./attention-config.ts";
import type { DecoderConfig } from "./config.ts";
import { decoder } from "./decoder.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const families = ["olmoe", "qwen2_moe", "qwen3_moe"];

const make = (family: string, seed = 5): ReadyModel =>
  initModel(tinyConfigs[family] ?? {}, randomKey(seed), { backend, dtype: "f64" });

describe.each(families)("%s", (family) => {
  it("states the shape of every leaf", () => {
    const ready = make(family);
    for (const [tree, shapes] of [
      [ready.params, ready.model.shapes],
      [ready.state, ready.model.stateShapes],
    ] as const) {
      const leaves = leavesOf(tree).map(({ path, leaf }) => [path, "shape" in leaf && leaf.shape]);
      expect(Object.fromEntries(leaves)).toEqual(Object.fromEntries(shapesByPath(shapes)));
    }
  });

  it("draws the same bits from the same seed, and others from another", async () => {
    const read = async (seed: number): Promise<unknown> => {
      const { model, params, state } = make(family, seed);
      return apply(model, params, state, tokens(backend, 1, 4)).logits.read();
    };
    expect(await read(1)).toEqual(await read(1));
    expect(await read(1)).not.toEqual(await read(2));
  });

  it("never looks at padding, on either side", async () => {
    const { model, params, state } = make(family);
    const ids = tokens(backend, 1, 5);
    const plain = apply(model, params, state, ids);
    const expected = (await plain.logits.read()) as Float64Array;
    const prompt = [...((await ids.read()) as Int32Array)];
    const row = model.config.vocabSize * 5;
    for (const filler of [0, 3]) {
      const both = backend.tensor(
        Int32Array.of(filler, filler, ...prompt, ...prompt, filler, filler),
        { shape: [2, 7] },
      );
      const mask = backend.tensor(
        [false, false, ...prompt.map(() => true), ...prompt.map(() => true), false, false],
        { shape: [2, 7] },
      );
      const output = apply(model, params, state, both, { mask });
      const logits = (await output.logits.read()) as Float64Array;
      const width = model.config.vocabSize;
      const left = logits.slice(2 * width, 2 * width + row);
      const right = logits.slice(7 * width, 7 * width + row);
      for (const [index, value] of expected.entries()) {
        expect(left[index]).toBeCloseTo(value, 10);
        expect(right[index]).toBeCloseTo(value, 10);
      }
      // Twice the sequence has the same shares of experts, so the balance loss does not move.
      expect(await output.losses[0]?.value.item()).toBeCloseTo(
        (await plain.losses[0]?.value.item()) ?? Number.NaN,
        10,
      );
      for (const [layer, load] of output.loads.entries()) {
        const once = [...((await plain.loads[layer]?.read()) ?? [])];
        expect([...(await load.read())]).toEqual(once.map((count) => 2 * count));
      }
    }
  });

  it("tells routers where sequences end", () => {
    const { model, params, state } = make(family);
    const { routings } = apply(model, params, state, tokens(backend, 3, 4));
    for (const routing of routings) expect(routing.sequences).toEqual([0, 4, 8, 12]);
  });

  it("plays the choices of an earlier run back", async () => {
    const [ready, other] = [make(family, 1), make(family, 2)];
    const ids = tokens(backend, 2, 4);
    const { routings } = apply(ready.model, ready.params, ready.state, ids);
    const selected = routings.map((routing) =>
      "selected" in routing ? routing.selected : undefined,
    );
    const chosen = async (given: typeof routings): Promise<number[][]> =>
      Promise.all(given.map(async (r) => ("indices" in r ? [...(await r.indices.read())] : [])));
    for (const checkpoint of [false, true]) {
      const replayed = apply(other.model, other.params, other.state, ids, { selected, checkpoint });
      expect(await chosen(replayed.routings)).toEqual(await chosen(routings));
    }
    const free = apply(other.model, other.params, other.state, ids);
    expect(await chosen(free.routings)).not.toEqual(await chosen(routings));
  });

  it("leaves nothing behind", async () => {
    const { model, params, state } = make(family);
    const ids = tokens(backend, 2, 4);
    const dispose = (result: unknown): void =>
      leavesOf(result).forEach(({ leaf }) => "dispose" in leaf && leaf.dispose());
    const before = backend.statistics().liveBuffers;
    dispose(apply(model, params, state, ids));
    expect(backend.statistics().liveBuffers).toBe(before);
    dispose(await applyAsync(model, params, state, ids));
    expect(backend.statistics().liveBuffers).toBe(before);
  });
});

it("gives the last token's logits alone", async () => {
  const { model, params, state } = make("olmoe");
  const ids = tokens(backend, 2, 4);
  const all = apply(model, params, state, ids).logits;
  const last = apply(model, params, state, ids, { lastOnly: true }).logits;
  expect(last.shape).toEqual([2, 1, 13]);
  const rows = [...(await all.read())];
  expect([...(await last.read())]).toEqual([...rows.slice(39, 52), ...rows.slice(91, 104)]);
});

it("limits queries, keys and values to ±clip", async () => {
  const { config } = make("olmoe").model;
  if (config.attention.kind === "latent") throw new Error("olmoe has grouped queries");
  const { attention } = config;
  const loose = decoder({ ...config, attention: { ...attention, clip: 1e9 } });
  const none = decoder({ ...config, attention: { ...attention, clip: undefined } });
  const { params, state } = make("olmoe");
  const ids = tokens(backend, 1, 4);
  const logits = async (model: typeof loose): Promise<unknown> =>
    apply(model, params, state, ids).logits.read();
  expect(await logits(loose)).toEqual(await logits(none));
  expect(await logits(decoder(config))).not.toEqual(await logits(none));
});

describe("bad calls and configurations are named", () => {
  it("calls", () => {
    const { model, params, state } = make("qwen3_moe");
    const ids = tokens(backend, 2, 4);
    const call = (
      ...args: Parameters<typeof model.forward> extends [unknown, unknown, ...infer A] ? A : never
    ) => apply(model, params, state, ...args);
    expect(() => call(ids.reshape([8]))).toThrow(ShapeError);
    expect(() => call(backend.tensor([1, 2], { shape: [1, 2] }))).toThrow(DTypeError);
    const short = backend.tensor([true], { shape: [1, 1] });
    expect(() => call(ids, { mask: short })).toThrow(/context\.mask is \[1, 1\]/);
    expect(() => call(ids, { mask: ids })).toThrow(/bool/);
    expect(() => apply(model, { ...params, layers: [] }, state, ids)).toThrow(ConfigError);
    const [first] = params.layers;
    const layers = [first, first]
      .flatMap((layer) => layer ?? [])
      .map(({ moe: _, ...rest }) => rest);
    expect(() => apply(model, { ...params, layers }, state, ids)).toThrow(/this layer needs moe/);
  });

  it("dropout in training", () => {
    const { config } = make("qwen3_moe").model;
    const model = decoder({ ...config, attention: { ...config.attention, dropout: 0.1 } });
    const { params, state } = make("qwen3_moe");
    const ids = tokens(backend, 1, 4);
    expect(apply(model, params, state, ids).logits.shape).toEqual([1, 4, 13]);
    expect(() => apply(model, params, state, ids, { training: true })).toThrow(UnsupportedError);
  });

  it.each([
    ["vocabSize", { vocabSize: 0 }],
    ["hiddenSize", { hiddenSize: 1.5 }],
    ["layers", { layers: [] }],
    ["rmsNormEps", { rmsNormEps: -1 }],
    ["initializerRange", { initializerRange: Number.NaN }],
  ])("%s", (key, change) => {
    const { config } = make("qwen3_moe").model;
    expect(() => decoder({ ...config, ...change })).toThrow(
      expect.objectContaining({ code: "CONFIG", key }) as Error,
    );
  });

  it.each([
    ["headDim", 3],
    ["numKeyValueHeads", 3],
    ["numAttentionHeads", 0],
    ["ropeTheta", 0],
    ["dropout", 1],
    ["clip", 0],
  ])("attention.%s", (key, value) => {
    const { config } = make("qwen3_moe").model;
    const attention = { ...config.attention, [key]: value };
    expect(() => decoder({ ...config, attention })).toThrow(
      expect.objectContaining({ code: "CONFIG", key }) as Error,
    );
  });

  it.each([
    ["attention.kind", { kind: "linear" }],
    ["kvLoraRank", { kvLoraRank: 0 }],
    ["qLoraRank", { qLoraRank: 1.5 }],
    ["qkRopeHeadDim", { qkRopeHeadDim: 3 }],
    ["vHeadDim", { vHeadDim: -1 }],
    ["latentNormEps", { latentNormEps: -1 }],
    ["window", { window: 0 }],
    ["scale", { scale: 0 }],
    ["ropeScaling.factor", { ropeScaling: { kind: "linear", factor: 0 } }],
    ["rotaryDim", { qkRopeHeadDim: 2, ropeScaling: { kind: "dynamic", factor: 2 } }],
    [
      "ropeScaling.long.factors",
      {
        ropeScaling: {
          kind: "longrope",
          short: { factors: [1, 1], scale: 1 },
          long: { factors: [1], scale: 1 },
        },
      },
    ],
    [
      "ropeScaling.short",
      { ropeScaling: { kind: "longrope", short: { factors: [1, 0], scale: 1 } } },
    ],
  ])("%s of latent attention", (key, change) => {
    const { config } = make("deepseek_v3").model;
    const attention = { ...config.attention, ...change } as AttentionConfig;
    const refusal = expect.objectContaining({ code: "CONFIG", key }) as Error;
    expect(() => decoder({ ...config, attention })).toThrow(refusal);
    const [first, ...rest] = config.layers;
    if (!first) throw new Error("no layer");
    expect(() => decoder({ ...config, layers: [{ ...first, attention }, ...rest] })).toThrow(
      refusal,
    );
  });

  it.each([
    ["norm", { norm: "batch" }],
    ["normPosition", { normPosition: "around" }],
  ])("%s", (key, change) => {
    const { config } = make("phimoe").model;
    expect(() => decoder({ ...config, ...change } as DecoderConfig)).toThrow(
      expect.objectContaining({ code: "CONFIG", key }) as Error,
    );
  });
});
