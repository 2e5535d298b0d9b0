import create from "@moiety/backend-cpu";
import { type Backend, type Tensor, apply, leavesOf, mapTree, mul, randomKey } from "@moiety/core";
import type { DecoderModel, DecoderParams, DecoderState } from "@moiety/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLearner } from "./learner.ts";
import { modelOf } from "./model-config.ts";
import { routerRefusal, routers } from "./routers.ts";
import { type Settings, newSettings } from "./settings.ts";

const [ROWS, LENGTH] = [3, 12];

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});
afterAll(() => backend.dispose());

const trained = Object.values(routers).filter((entry) => routerRefusal(entry) === undefined);

function settingsOf(router: string, experts: number): Settings {
  const chosen = newSettings({ router, experts, preset: "small" });
  const { model, training } = chosen;
  return {
    ...chosen,
    text: null,
    textDigest: "",
    model: { ...model, hiddenSize: 8, intermediateSize: 8 },
    training: { ...training, batchSize: ROWS, sequenceLength: LENGTH },
  };
}

interface Ready {
  readonly evaluated: DecoderModel;
  readonly model: DecoderModel;
  readonly params: DecoderParams;
  readonly state: DecoderState;
}

/** A model whose routers are decided, so that choices and places differ. */
function ready(name: "sparse" | "hash", router: string, experts = 9): Ready {
  const settings = settingsOf(router, experts);
  const configured = modelOf(name, settings);
  const learner = createLearner(name, configured, settings, randomKey(4), backend);
  const { params, state } = learner.start(1);
  const decided = mapTree(params, (leaf, path) =>
    path.includes(".moe.router.") && "dtype" in leaf ? mul(leaf as Tensor, 40) : leaf,
  ) as DecoderParams;
  return { evaluated: learner.evaluated, model: configured.model, params: decided, state };
}

/** Which tokens' logits change, `[row][token]`, where the tokens from a place on are others. */
type Changes = (from: number) => Promise<boolean[][]>;

async function changesOf(
  { params, state }: Ready,
  model: DecoderModel,
  context: object = {},
): Promise<Changes> {
  const bytes = Int32Array.from({ length: ROWS * LENGTH }, (_, place) => (place * 53) % 256);
  const logits = async (ids: Int32Array): Promise<ArrayLike<number>> => {
    const given = backend.tensor(ids, { shape: [ROWS, LENGTH] });
    return apply(model, params, state, given, context).logits.read();
  };
  const one = await logits(bytes);
  const width = one.length / (ROWS * LENGTH);
  return async (from) => {
    const two = await logits(
      bytes.map((byte, place) => (place % LENGTH < from ? byte : 255 - byte)),
    );
    return Array.from({ length: ROWS }, (_, row) =>
      Array.from({ length: LENGTH }, (__, token) => {
        const start = (row * LENGTH + token) * width;
        return Array.from({ length: width }).some(
          (___, place) => !Object.is(one[start + place], two[start + place]),
        );
      }),
    );
  };
}

describe("a model as it is evaluated", () => {
  it.each([
    ["hash", "mixtralRouter"] as const,
    ...trained.map(({ name }) => ["sparse", name] as const),
  ])("%s, %s: a later byte changes no logits before it, in any sequence", async (name, router) => {
    const model = ready(name, router);
    const changes = await changesOf(model, model.evaluated);
    for (const from of [1, 6, LENGTH - 1]) {
      for (const row of await changes(from)) {
        expect(row.slice(0, from)).toEqual(row.slice(0, from).map(() => false));
        expect(row[from]).toBe(true);
      }
    }
  });

  it("sees what training lets through", async () => {
    const leaking: string[] = [];
    for (const { name, acrossTokens } of trained) {
      if (!acrossTokens) continue;
      // Its assignments take rounds with every expert.
      const model = ready("sparse", name, name === "baseRouter" ? 4 : 9);
      const changes = await changesOf(model, model.model, { training: true, key: randomKey(2) });
      const rows = await changes(LENGTH / 2);
      if (rows.some((row) => row.slice(0, LENGTH / 2).includes(true))) leaking.push(name);
    }
    expect(leaking).toEqual(
      expect.arrayContaining(["sinkhornRouter", "baseRouter", "expertChoiceRouter", "vmoeRouter"]),
    );
  });

  it("has parameters and state of the trained one", () => {
    for (const { name } of trained) {
      const { evaluated, model, params } = ready("sparse", name);
      expect(evaluated.shapes).toEqual(model.shapes);
      expect(evaluated.stateShapes).toEqual(model.stateShapes);
      expect(leavesOf(params).length).toBeGreaterThan(0);
    }
  });
});
