import { join } from "node:path";
import { readFileSync } from "node:fs";
import { openCheckpoint } from "@moiety/checkpoints/node";
import { type Backend, type Tensor, apply, leavesOf } from "@moiety/core";
import { type ReadyModel, loadModel } from "@moiety/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Snapshot, createLearner } from "./learner.ts";
import { modelOf } from "./model-config.ts";
import { streamKey } from "./random-choice.ts";
import type { ModelName } from "./result.ts";
import { routerRefusal, routers } from "./routers.ts";
import type { Settings } from "./settings.ts";
import {
  type SmallRuns,
  savedWeights,
  smallRuns,
  smallSettings,
  timeless,
} from "./testing/small-run.ts";
import { tryOut } from "./try-out.ts";

let runs: SmallRuns;
let backend: Backend;
beforeAll(async () => {
  runs = await smallRuns();
  backend = runs.opened.backend;
}, 60_000);
afterAll(() => runs.dispose());

const load = async (folder: string): Promise<ReadyModel> => {
  const checkpoint = await openCheckpoint(folder);
  try {
    return await loadModel(checkpoint, { backend });
  } finally {
    await checkpoint.close();
  }
};

const trained = Object.values(routers).filter((entry) => routerRefusal(entry) === undefined);

describe("every router of the catalogue", () => {
  it.each(trained.map(({ name }) => name))("%s trains", async (router) => {
    await expect(tryOut(smallSettings({ router }), backend)).resolves.toBeUndefined();
  });

  it("trains, but for those with a reason", () => {
    const refused = Object.keys(routers).filter((name) => !trained.some((e) => e.name === name));
    expect(refused).toEqual(["hashRouter", "zayaRouter", "moePlusPlusRouter", "softRouter"]);
  });
});

describe("a run with another router", () => {
  it.each([
    ["expertChoiceRouter", "none", "thresholds"],
    ["reluRouter", "none", "sparsityCoefficient"],
    ["inklingRouter", "bias", "routedBias"],
    ["mixtralRouter", "quantileController", "selectionBias"],
  ])(
    "%s with %s moves its %s, and goes on to the same bits",
    async (router, balance, leaf) => {
      const choice = { router, balance, layers: 1, steps: 2 };
      const whole = await runs.newFolder(`${router}-whole`);
      const straight = await runs.run(whole, choice);
      const parts = await runs.newFolder(`${router}-parts`);
      const first = await runs.run(parts, { ...choice, stopAfter: 1 });
      const second = await runs.run(parts, choice);
      expect(savedWeights(parts)).toEqual(savedWeights(whole));
      expect(timeless([...first.records, ...second.records])).toEqual(timeless(straight.records));

      const { model, state, params } = await load(whole.model);
      const { state: start } = startOf("sparse", startSettings({ router, balance, layers: 1 }));
      const kept = state.layers[0]?.moe?.router[leaf] as Tensor;
      const begun = start.layers[0]?.moe?.router[leaf] as Tensor;
      expect([...(await kept.read())]).not.toEqual([...(await begun.read())]);
      const ids = backend.tensor([1, 2, 3, 4], { shape: [1, 4], dtype: "i32" });
      const { logits } = apply(model, params, state, ids);
      expect([...(await logits.read())].every(Number.isFinite)).toBe(true);
    },
    60_000,
  );

  it("rewards reinforceRouter with its bytes' losses, and only the sparse model", async () => {
    const folder = await runs.newFolder("reinforce");
    const { records } = await runs.run(folder, {
      router: "reinforceRouter",
      balance: "none",
      layers: 1,
      steps: 2,
    });
    const losses = (name: ModelName): number[] =>
      records.filter(({ model }) => model === name).map(({ balanceLoss }) => balanceLoss);
    expect(losses("sparse").every((loss) => Math.abs(loss) > 1e-6)).toBe(true);
    expect(losses("hash").every((loss) => loss === 0)).toBe(true);
    expect(losses("dense").every((loss) => loss === 0)).toBe(true);
  });

  it("says in the notes what other loaders would make of it", async () => {
    const folder = await runs.newFolder("notes");
    const { result } = await runs.run(folder, { router: "cosineRouter", layers: 1, steps: 1 });
    expect(result.notes.join("\n")).toMatch(/the sparse model: the router is cosineRouter/);
    expect(result.notes.join("\n")).toMatch(/the hash model: the router is hashRouter/);
    const config = JSON.parse(readFileSync(join(folder.model, "config.json"), "utf8")) as object;
    expect(config).toMatchObject({ moiety: { router: "cosineRouter", losses: [] } });
  });
});

describe("the hashed twin", () => {
  it("begins with what the sparse model begins with, but for the router", async () => {
    const [sparse, hash] = [startOf("sparse"), startOf("hash")];
    const values = async (tree: unknown): Promise<Map<string, readonly number[]>> =>
      new Map(
        await Promise.all(
          leavesOf(tree).map(
            async ({ path, leaf }) => [path, [...(await (leaf as Tensor).read())]] as const,
          ),
        ),
      );
    const [own, other] = [await values(sparse.params), await values(hash.params)];
    for (const path of own.keys()) if (path.includes(".moe.router.")) own.delete(path);
    expect(other).toEqual(own);
    expect(other.size).toBeGreaterThan(20);
  });

  it("sends a byte to its own experts, whatever stands around it, before and after training", async () => {
    const folder = await runs.newFolder("hashed");
    await runs.run(folder, { steps: 2 });
    const { model, params, state } = await load(folder.hashModel);
    const table = state.layers[0]?.moe?.router["table"] as Tensor;
    expect(table).toMatchObject({ dtype: "i32", shape: [256, 2] });
    const begun = startOf("hash").state.layers[0]?.moe?.router["table"] as Tensor;
    expect(await table.read()).toEqual(await begun.read());
    const bytes = [7, 200, 7, 9, 200];
    const ids = backend.tensor(bytes, { shape: [1, 5], dtype: "i32" });
    const { routings } = apply(model, params, state, ids);
    const rows = [...(await table.read())];
    for (const [layer, routing] of routings.entries()) {
      const own = state.layers[layer]?.moe?.router["table"] as Tensor;
      const fixed = layer === 0 ? rows : [...(await own.read())];
      const chosen = "indices" in routing ? [...(await routing.indices.read())] : [];
      expect(chosen).toEqual(bytes.flatMap((byte) => fixed.slice(2 * byte, 2 * byte + 2)));
    }
  });
});

function startSettings(choice: Parameters<typeof smallSettings>[0] = {}): Settings {
  return { ...smallSettings(choice), text: null, textDigest: "" };
}

/** A model before its first step; the hashed one draws what the sparse one draws. */
function startOf(name: ModelName, settings: Settings = startSettings()): Snapshot {
  const key = streamKey(settings.seed, "sparse");
  return createLearner(name, modelOf(name, settings), settings, key, backend).start(4);
}
