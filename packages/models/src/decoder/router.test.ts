import create from "@moiety/backend-cpu";
import type { JsonObject } from "@moiety/checkpoints";
import {
  type Backend,
  ConfigError,
  DTypeError,
  ShapeError,
  UnsupportedError,
  apply,
  leavesOf,
  randomKey,
} from "@moiety/core";
import { routerCatalogue } from "@moiety/routers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelFromConfig } from "../from-config.ts";
import { initModel } from "../init-model.ts";
import { type ReadyModel, loadModel } from "../load.ts";
import { saveToMemory, tinyConfigs, tokens } from "../testing/tiny.ts";
import { shapesByPath } from "../tree.ts";
import { causalDecoder } from "./causal.ts";
import type { DecoderConfig, RouterConfig } from "./config.ts";
import { decoder } from "./decoder.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});
afterAll(() => backend.dispose());

const olmoe = tinyConfigs["olmoe"] ?? {};

/** A small model with a router of the catalogue; losses of token choice would not fit all of them. */
const withRouter = (router: string): JsonObject => ({ ...olmoe, moiety: { router, losses: [] } });

const make = (router: string): ReadyModel =>
  initModel(withRouter(router), randomKey(4), { backend, dtype: "f64" });

const logitsOf = async (
  { model, params, state }: Pick<ReadyModel, "model" | "params" | "state">,
  ids = tokens(backend, 2, 6),
): Promise<Float64Array> =>
  Float64Array.from((await apply(model, params, state, ids).logits.read()) as Float64Array);

describe.each(routerCatalogue.map(({ name }) => name))("a decoder routed by %s", (name) => {
  it("states its leaves, runs, and trains", () => {
    const { model, params, state } = make(name);
    for (const [tree, shapes] of [
      [params, model.shapes],
      [state, model.stateShapes],
    ] as const) {
      const leaves = leavesOf(tree).map(({ path, leaf }) => [path, "shape" in leaf && leaf.shape]);
      expect(Object.fromEntries(leaves)).toEqual(Object.fromEntries(shapesByPath(shapes)));
    }
    const context = { training: true, key: randomKey(9) };
    const { logits, loads } = apply(model, params, state, tokens(backend, 2, 6), context);
    expect(logits.shape).toEqual([2, 6, 13]);
    expect(loads.map((load) => load.shape)).toEqual([[4], [4]]);
  });

  it("is the same after it was saved and loaded", async () => {
    const ready = make(name);
    const { source, warnings } = await saveToMemory(ready);
    expect(warnings.join()).toContain(name);
    const again = await loadModel(source, { backend, dtype: "f64" });
    const [kept, found] = [await logitsOf(ready), await logitsOf(again)];
    // Saved as float32.
    for (const [index, value] of kept.entries()) expect(found[index]).toBeCloseTo(value, 5);
    expect(kept.every(Number.isFinite)).toBe(true);
  });

  it("is evaluated by a rule that sees no later token, or not at all", async () => {
    const ready = make(name);
    const entry = routerCatalogue.find((one) => one.name === name);
    if (entry?.causal.rule === "none") {
      expect(() => decoder(causalDecoder(ready.model.config))).toThrow(UnsupportedError);
      expect(() => decoder(causalDecoder(ready.model.config))).toThrow(entry.causal.reason);
      return;
    }
    const model = decoder(causalDecoder(ready.model.config));
    const ids = Int32Array.of(1, 7, 3, 9, 12, 0, 5, 5);
    const of = (data: Int32Array): Promise<Float64Array> =>
      logitsOf({ ...ready, model }, backend.tensor(data, { shape: [1, 8] }));
    const before = await of(ids);
    for (const later of [5, 7]) {
      const changed = Int32Array.from(ids, (id, at) => (at >= later ? (id + 4) % 13 : id));
      const after = await of(changed);
      expect(after.subarray(0, later * 13)).toEqual(before.subarray(0, later * 13));
      expect(after.subarray(later * 13)).not.toEqual(before.subarray(later * 13));
    }
  });
});

/** The small model's configuration with another router in all layers. */
function routed(router: RouterConfig): DecoderConfig {
  const { config } = modelFromConfig(olmoe).model;
  const layers = config.layers.map((layer) =>
    "moe" in layer ? { moe: { ...layer.moe, router } } : layer,
  );
  return { ...config, layers, losses: [] };
}

describe("a router by its name", () => {
  it("takes its preset's options", () => {
    const { stateShapes, shapes } = decoder(
      routed({ kind: "hash", numExperts: 4, numExpertsPerTok: 2, vocabSize: 13 }),
    );
    expect(stateShapes.layers[1]?.moe?.router["table"]).toEqual([13, 2]);
    expect(shapes.layers[1]?.moe?.router).toEqual({});
  });

  it.each([
    [{ kind: "astrology" }, "router.kind"],
    [{ kind: "catalogue", name: "astrology", experts: 4, topK: 1 }, "router.name"],
    [{ kind: "hash", numExperts: 4, vocabSize: 0 }, "vocabSize"],
    [{ kind: "doge", numExperts: 5, numExpertsPerTok: 2 }, "experts"],
    [{ spec: { experts: 4, topK: 5, score: "softmax" } }, "topK"],
  ])("%j is refused by key", (router, key) => {
    const build = (): unknown => decoder(routed(router as unknown as RouterConfig));
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(expect.objectContaining({ key }) as Error);
  });

  it("is asked for by a config.json that may not mean anything else", () => {
    const refused = (moiety: JsonObject): unknown => modelFromConfig({ ...olmoe, moiety });
    expect(() => refused({ router: 3 })).toThrow(/moiety\.router is 3/);
    expect(() => refused({ router: "astrology" })).toThrow(/router\.name is astrology/);
    expect(() => refused({ router: "hashRouter", selection_bias: true })).toThrow(
      /moiety\.selection_bias/,
    );
  });

  it("is not evaluated causally where it looks ahead and names no rule", () => {
    const capacity = { size: { factor: 1 }, per: "batch", order: "probability" } as const;
    const spec = { experts: 4, topK: 2, score: "softmax", capacity } as const;
    expect(() => causalDecoder(routed({ spec }))).toThrow(UnsupportedError);
    const plain = routed({ spec: { ...spec, capacity: undefined } });
    expect(causalDecoder(plain)).toEqual(plain);
  });
});

describe("labels", () => {
  const labelled = (): ReadyModel => {
    const coarse = { spec: { experts: 2, topK: 1, score: "softmax" }, by: "label" } as const;
    const fine = { spec: { experts: 2, topK: 1, score: "softmax" } } as const;
    const model = decoder(routed({ kind: "hierarchical", levels: [coarse, fine] }));
    const { params, state } = model.init(randomKey(2), { backend, dtype: "f64" });
    return { ...make("mixtralRouter"), model, params, state };
  };

  it("reach the routers", async () => {
    const { model, params, state } = labelled();
    const ids = tokens(backend, 2, 3);
    const labels = backend.tensor(Int32Array.of(0, 1, 1, 0, 0, 1), { shape: [2, 3] });
    const { routings } = apply(model, params, state, ids, { labels });
    for (const routing of routings) {
      if (routing.kind !== "token-choice") throw new Error(routing.kind);
      const groups = [...((await routing.indices.read()) as Int32Array)].map((e) => e >> 1);
      expect(groups).toEqual([0, 1, 1, 0, 0, 1]);
    }
    expect(() => apply(model, params, state, ids)).toThrow(ConfigError);
  });

  it("must be i32, one for each token", () => {
    const { model, params, state } = labelled();
    const call = (labels: unknown): unknown =>
      apply(model, params, state, tokens(backend, 2, 3), { labels: labels as never });
    expect(() => call([0, 1])).toThrow(DTypeError);
    expect(() => call(backend.tensor([0, 1]))).toThrow(DTypeError);
    expect(() => call(backend.tensor(Int32Array.of(0, 1)))).toThrow(ShapeError);
  });
});
