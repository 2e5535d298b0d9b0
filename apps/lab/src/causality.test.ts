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

function settingsOf(router: string): Settings {
  const chosen = newSettings({ router, experts: 9 });
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
function ready(name: "sparse" | "hash", router: string): Ready {
  const settings = settingsOf(router);
  const configured = modelOf(name, settings);
  const learner = createLearner(name, configured, settings, randomKey(4), backend);
  const { params, state } = learner.start(1);
  const decided = mapTree(params, (leaf, path) =>
    path.includes(".moe.router.") && "dtype" in leaf ? mul(leaf as Tensor, 40) : leaf,
  ) as DecoderParams;
  return { evaluated: learner.evaluated, model: configured.model, params: decided, state };
}

/** Logits as bits, `[row][token]`, and what changed where the tokens from `from` on are others. */
async function changes(
  { params, state }: Ready,
  model: DecoderModel,
  from: number,
  context: object = {},
): Promise<boolean[][]> {
  const bytes = Int32Array.from({ length: ROWS * LENGTH }, (_, place) => (place * 53) % 256);
  const others = bytes.map((byte, place) => (place % LENGTH < from ? byte : 255 - byte));
  const logits = async (ids: Int32Array): Promise<ArrayLike<number>> => {
    const given = backend.tensor(ids, { shape: [ROWS, LENGTH] });
    return apply(model, params, state, given, context).logits.read();
  };
  const [one, two] = [await logits(bytes), await logits(others)];
  const width = one.length / (ROWS * LENGTH);
  return Array.from({ length: ROWS }, (_, row) =>
    Array.from({ length: LENGTH }, (__, token) => {
      const start = (row * LENGTH + token) * width;
      return Array.from({ length: width }).some(
        (___, place) => !Object.is(one[start + place], two[start + place]),
      );
    }),
  );
}

describe("a model as it is evaluated", () => {
  it.each([
    ["hash", "mixtralRouter"] as const,
    ...trained.map(({ name }) => ["sparse", name] as const),
  ])("%s, %s: a later byte changes no logits before it, in any sequence", async (name, router) => {
    const model = ready(name, router);
    for (const from of [1, 6, LENGTH - 1]) {
      for (const row of await changes(model, model.evaluated, from)) {
        expect(row.slice(0, from)).toEqual(row.slice(0, from).map(() => false));
        expect(row[from]).toBe(true);
      }
    }
  });

  it("sees what training lets through", async () => {
    const leaking: string[] = [];
    for (const { name, acrossTokens } of trained) {
      if (!acrossTokens) continue;
      const model = ready("sparse", name);
      const context = { training: true, key: randomKey(2) };
      const [first = []] = await changes(model, model.model, LENGTH / 2, context);
      if (first.slice(0, LENGTH / 2).includes(true)) leaking.push(name);
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
