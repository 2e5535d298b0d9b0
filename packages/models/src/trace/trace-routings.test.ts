import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  ShapeError,
  type Routing,
  apply,
  randomKey,
} from "@moiety/core";
import { generate } from "../generate.ts";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { tinyConfigs, tokens } from "../testing/tiny.ts";
import { expertLayers, expertLayersIn } from "./expert-layers.ts";
import type { RoutedToken } from "./routed-token.ts";
import { traceRoutings } from "./trace-routings.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});
afterAll(() => backend.dispose());

const make = (family: string, moiety?: object): ReadyModel => {
  const config = { ...tinyConfigs[family], ...(moiety && { moiety: { losses: [], ...moiety } }) };
  return initModel(config, randomKey(5), { backend, dtype: "f64" });
};

const floats = (values: readonly number[], shape: readonly number[]) =>
  backend.tensor(Float64Array.from(values), { shape });
const ints = (values: readonly number[], shape: readonly number[]) =>
  backend.tensor(Int32Array.from(values), { shape });

/** A routing of four tokens to three experts, by hand. */
function byHand(kind: Routing["kind"]): Routing {
  const base = {
    experts: 3,
    logits: floats(Array(12).fill(0), [4, 3]),
    scores: floats(Array(12).fill(0), [4, 3]),
  };
  switch (kind) {
    case "token-choice":
      return {
        ...base,
        kind,
        selected: ints([0, 1, 2, 0, 1, 0, 3, 3], [4, 2]),
        indices: ints([0, 1, 2, 3, 3, 3, 3, 3], [4, 2]),
        outputWeights: floats([0.75, 0.25, 1, 0, 0, 0, 0, 0], [4, 2]),
        inputWeights: floats([1, 0.5, 1, 1, 1, 1, 1, 1], [4, 2]),
      };
    case "expert-choice":
      return {
        ...base,
        kind,
        tokens: ints([0, 1, 0, 4, 3, 0], [1, 3, 2]),
        weights: floats([0.1, 0.2, 0.3, 0, 0.5, 0.6], [1, 3, 2]),
      };
    case "soft":
      return {
        ...base,
        kind,
        slots: 2,
        dispatch: floats(Array(24).fill(0.25), [2, 2, 6]),
        combine: floats(
          [
            [0, 0.25, 0.5, 0.25, 0, 0],
            [0.5, 0.5, 0, 0, 0, 0],
            [0, 0, 0, 0, 0.5, 0.5],
            [0.25, 0, 0.25, 0, 0.5, 0],
          ].flat(),
          [2, 2, 6],
        ),
      };
  }
}

describe("traceRoutings", () => {
  it.each<[Routing["kind"], object[]]>([
    [
      "token-choice",
      [
        { experts: [0, 1], weights: [0.75, 0.125] },
        { experts: [2], weights: [1], dropped: 1 },
        { experts: [], weights: [], dropped: 2 },
        { experts: [], weights: [] },
      ],
    ],
    [
      "expert-choice",
      [
        { experts: [2, 1, 0], weights: [0.6, 0.3, 0.1] },
        { experts: [0], weights: [0.2] },
        { experts: [], weights: [] },
        { experts: [2], weights: [0.5] },
      ],
    ],
    [
      "soft",
      [
        { experts: [1, 0, 2], weights: [0.75, 0.25, 0] },
        { experts: [0, 1, 2], weights: [1, 0, 0] },
        { experts: [2, 0, 1], weights: [1, 0, 0] },
        { experts: [2, 0, 1], weights: [0.5, 0.25, 0.25] },
      ],
    ],
  ])("reads %s", async (kind, expected) => {
    const ids = ints([7, 8, 9, 10], [2, 2]);
    const records = await traceRoutings({ routings: [byHand(kind)] }, ids, { layers: [3] });
    expect(records).toEqual(
      expected.map((layer, index) => ({
        sequence: Math.floor(index / 2),
        position: index % 2,
        token: 7 + index,
        layers: [{ layer: 3, ...layer }],
      })),
    );
  });

  it("leaves padding out and counts on from a cache", async () => {
    const ids = ints([0, 8, 9, 10], [2, 2]);
    const mask = backend.tensor([false, true, true, true], { shape: [2, 2] });
    const routings = [byHand("token-choice")];
    const records = await traceRoutings({ routings }, ids, { mask, before: [0, 5] });
    const places = records.map(({ sequence, position, token }) => [sequence, position, token]);
    expect(places).toEqual([
      [0, 0, 8],
      [1, 5, 9],
      [1, 6, 10],
    ]);
    const carried = { ...byHand("token-choice"), mask: mask.reshape([4]) };
    expect(await traceRoutings({ routings: [carried] }, ids, { before: [0, 5] })).toEqual(records);
  });

  it.each(["mixtralRouter", "expertChoiceRouter", "softRouter"])(
    "reads a model routed by %s and keeps what it reads",
    async (router) => {
      const { model, params, state } = make("olmoe", { router });
      const ids = tokens(backend, 2, 5);
      const output = apply(model, params, state, ids);
      const before = backend.statistics().liveBuffers;
      const records = await traceRoutings(output, ids);
      expect(backend.statistics().liveBuffers).toBe(before);
      expect(records).toHaveLength(10);
      expect(records.map(({ token }) => token)).toEqual([...(await ids.read())]);
      const [routing] = output.routings;
      if (routing?.kind === "token-choice") {
        const chosen = records.flatMap(({ layers }) => layers[0]?.experts ?? []);
        const indices = [...(await routing.indices.read())];
        expect(chosen).toEqual(indices.filter((expert) => expert < routing.experts));
      }
      const load = new Array<number>(4).fill(0);
      for (const { layers } of records) {
        for (const expert of layers[1]?.experts ?? []) load[expert] = (load[expert] ?? 0) + 1;
      }
      if (routing?.kind === "soft") expect(load).toEqual([10, 10, 10, 10]);
      else expect(load).toEqual([...((await output.loads[1]?.read()) ?? [])]);
    },
  );

  it("refuses tokens and layers that do not fit", async () => {
    const routings = [byHand("token-choice")];
    const trace = (ids: readonly number[], layers?: number[]) =>
      traceRoutings({ routings }, ints(ids, [1, ids.length]), { layers });
    await expect(trace([1, 2, 3])).rejects.toThrow(ShapeError);
    await expect(trace([1, 2, 3, 4], [0, 1])).rejects.toThrow(ConfigError);
  });
});

describe("generate with onRouted", () => {
  const routedBy = async (
    ready: ReadyModel,
    prompts: readonly (readonly number[])[],
    prefillChunk: number,
  ): Promise<{ records: RoutedToken[]; sequences: number[][] }> => {
    const { model, params, state } = ready;
    const records: RoutedToken[] = [];
    const sequences = prompts.map((prompt) => [...prompt]);
    const options = {
      maxNewTokens: 4,
      prefillChunk,
      onRouted: (token: RoutedToken) => void records.push(token),
    };
    for await (const step of generate(model, params, state, prompts, options)) {
      for (const [row, token] of step.entries())
        if (token !== undefined) sequences[row]?.push(token);
    }
    return { records, sequences };
  };

  it.each([1, 2, 9])("tells of every token that went in, in chunks of %d", async (chunk) => {
    const ready = make("qwen2_moe");
    const { model, params, state } = ready;
    const { records, sequences } = await routedBy(ready, [[3], [5, 9, 2], [1, 2]], chunk);
    const layers = expertLayers(model.config).map(({ layer }) => layer);
    expect(layers).toEqual([1]);
    for (const [row, sequence] of sequences.entries()) {
      // The last token was never put in.
      const ids = ints(sequence.slice(0, -1), [1, sequence.length - 1]);
      const whole = await traceRoutings(apply(model, params, state, ids), ids, { layers });
      const own = records.filter((record) => record.sequence === row);
      expect(own.map(({ position }) => position)).toEqual(whole.map(({ position }) => position));
      for (const [at, record] of own.entries()) {
        expect(record.token).toBe(whole[at]?.token);
        expect(record.layers[0]?.experts).toEqual(whole[at]?.layers[0]?.experts);
        for (const [choice, weight] of (record.layers[0]?.weights ?? []).entries()) {
          expect(weight).toBeCloseTo(whole[at]?.layers[0]?.weights[choice] ?? Number.NaN, 10);
        }
      }
    }
  });

  it("leaves sequences that have ended out", async () => {
    const { model, params, state } = make("olmoe");
    const prompts = [[3], [5, 9, 2]];
    const run = async (stop: number[]): Promise<{ steps: number; records: RoutedToken[] }> => {
      const records: RoutedToken[] = [];
      const onRouted = (token: RoutedToken): void => void records.push(token);
      let steps = 0;
      const options = { maxNewTokens: 6, temperature: 3, seed: 2, stop, onRouted };
      for await (const step of generate(model, params, state, prompts, options)) {
        steps += step.length - step.filter((token) => token === undefined).length;
      }
      return { steps, records };
    };
    const free = await run([]);
    const stop = free.records.find(({ sequence, position }) => sequence === 0 && position === 2);
    const { steps, records } = await run([stop?.token ?? 0]);
    expect(steps).toBeLessThan(free.steps);
    // Each token given but the last of each sequence was put in, and all prompts.
    expect(records).toHaveLength(steps - prompts.length + prompts.flat().length);
  });
});

describe("expertLayers", () => {
  it("tells the layers of a model, and those of records", async () => {
    const { model } = make("qwen2_moe");
    expect(expertLayers(model.config)).toEqual([{ layer: 1, experts: 4 }]);
    const layer = (number: number, experts: number[]) => ({
      layer: number,
      experts,
      weights: experts.map(() => 1),
    });
    const record = { sequence: 0, position: 0, token: 0, layers: [layer(5, [3, 1]), layer(2, [])] };
    expect(expertLayersIn([record])).toEqual([
      { layer: 2, experts: 0 },
      { layer: 5, experts: 4 },
    ]);
    expect(expertLayersIn([])).toEqual([]);
  });
});
