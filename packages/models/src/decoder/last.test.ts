import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, type Routing, apply, randomKey, slice } from "@moiety/core";
import type { JsonObject } from "@moiety/checkpoints";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { tinyConfigs, tinyFamilies, tokens } from "../testing/tiny.ts";
import { type KeyValueCache, emptyCache } from "./cache.ts";
import type { DecoderContext } from "./decoder.ts";
import { lastOf } from "./places.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const make = (config: JsonObject | undefined): ReadyModel =>
  initModel(config ?? {}, randomKey(5), { backend, dtype: "f64" });

const read = async ({ model, params, state }: ReadyModel, context: DecoderContext) => [
  ...(await apply(model, params, state, tokens(backend, 2, 6), context).logits.read()),
];

/** How many tokens each layer with experts routes. */
function routedTokens({ model, params, state }: ReadyModel, context: DecoderContext): number[] {
  const routings: Routing[] = [];
  backend.scope(() => {
    const steps = model.forward(params, state, tokens(backend, 2, 6), context);
    for (let step = steps.next(); !step.done; step = steps.next()) {
      if (step.value.kind === "routing") routings.push(step.value.routing);
    }
    return [];
  });
  return routings.map(({ logits }) => logits.shape[0] ?? 0);
}

const lastOnly = { lastOnly: true } as const;
const alone = { lastOnly: true, routed: false } as const;

describe.each(tinyFamilies)("the last layer of %s", (family) => {
  it("gives the same bits for the last token alone", async () => {
    const ready = make(tinyConfigs[family]);
    expect(await read(ready, alone)).toEqual(await read(ready, lastOnly));
    const mask = backend.tensor([false, false, ...new Array<boolean>(10).fill(true)], {
      shape: [2, 6],
    });
    expect(await read(ready, { ...alone, mask })).toEqual(await read(ready, { ...lastOnly, mask }));
  });

  it("leaves the same keys and values in a cache", async () => {
    const ready = make(tinyConfigs[family]);
    const { model, params, state } = ready;
    const sizes = { backend, batch: 2, capacity: 8, dtype: "f64", masked: true } as const;
    const after = (context: DecoderContext): KeyValueCache => {
      let cache = emptyCache(model.config, sizes);
      for (const [start, count] of [
        [0, 4],
        [4, 2],
      ] as const) {
        const ids = slice(tokens(backend, 2, 6), { starts: [0, start], sizes: [2, count] });
        cache = apply(model, params, state, ids, { ...context, cache }).cache ?? cache;
      }
      return cache;
    };
    const [short, whole] = [after(alone), after(lastOnly)];
    expect(short.length).toBe(6);
    for (const [layer, { keys, values }] of short.layers.entries()) {
      expect(await keys.read()).toEqual(await whole.layers[layer]?.keys.read());
      expect(await values.read()).toEqual(await whole.layers[layer]?.values.read());
    }
  });
});

describe("tokens before the last", () => {
  const config = tinyConfigs["olmoe"];

  it("are left out of the last layer's experts, where nobody asks for them", () => {
    const ready = make(config);
    expect(routedTokens(ready, lastOnly)).toEqual([12, 12]);
    expect(routedTokens(ready, { routed: false })).toEqual([12, 12]);
    expect(routedTokens(ready, { ...alone, training: true })).toEqual([12, 12]);
    expect(routedTokens(ready, alone)).toEqual([12, 2]);
  });

  it.each(["expertChoiceRouter", "switchRouter", "zayaRouter", "reluRouter"])(
    "stay with %s, which needs them",
    async (router) => {
      const ready = make({ ...config, moiety: { router } });
      expect(routedTokens(ready, alone)).toEqual([12, 12]);
      expect(await read(ready, alone)).toEqual(await read(ready, lastOnly));
    },
  );

  it("stay where the last layer's choices are played back", async () => {
    const ready = make(config);
    const { model, params, state } = ready;
    const { routings } = apply(model, params, state, tokens(backend, 2, 6));
    const selected = routings.map((routing) => {
      if (routing.kind !== "token-choice") throw new Error("tokens choose here");
      return routing.selected;
    });
    expect(routedTokens(ready, { ...alone, selected })).toEqual([12, 12]);
    expect(await read(ready, { ...alone, selected })).toEqual(await read(ready, lastOnly));
  });
});

it("tells nothing that was not asked for", () => {
  const { model, params, state } = make(tinyConfigs["olmoe"]);
  const output = apply(model, params, state, tokens(backend, 2, 6), { routed: false });
  expect(output.logits.shape).toEqual([2, 6, 13]);
  expect([output.routings, output.losses, output.loads]).toEqual([[], [], []]);
});

it("takes the last place of any axis, and leaves an axis of one place alone", async () => {
  const x = backend.tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
  expect([...(await lastOf(x, 0).read())]).toEqual([4, 5, 6]);
  expect([...(await lastOf(x, 1).read())]).toEqual([3, 6]);
  const one = x.reshape([1, 6]);
  expect(lastOf(one, 0)).toBe(one);
});
