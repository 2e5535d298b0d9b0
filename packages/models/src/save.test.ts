import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { CheckpointMismatchError, type JsonObject, jsonDocument } from "@moiety/checkpoints";
import { openCheckpoint, saveCheckpoint } from "@moiety/checkpoints/node";
import {
  type Backend,
  ShapeError,
  type Tensor,
  apply,
  at,
  leavesOf,
  randomKey,
} from "@moiety/core";
import { initModel } from "./init-model.ts";
import { type ReadyModel, loadModel } from "./load.ts";
import { saveModel } from "./save.ts";
import { saveToMemory, tinyConfigs, tokens } from "./testing/tiny.ts";

const families = ["olmoe", "qwen2_moe", "qwen3_moe"];
let backend: Backend;
let folder: string;

beforeAll(async () => {
  backend = await create();
  folder = await mkdtemp(join(tmpdir(), "moiety-models-"));
});

afterAll(async () => {
  await backend.dispose();
  await rm(folder, { recursive: true });
});

const recorded = (family: string): string =>
  fileURLToPath(new URL(`testdata/${family}/`, import.meta.url));

describe.each(families)("%s: what was loaded is saved as it was", (family) => {
  it.each(["f32", "f64"] as const)("in %s", async (dtype) => {
    const before = await openCheckpoint(recorded(family));
    const ready = await loadModel(before, { backend, dtype });
    const target = join(folder, `${family}-${dtype}`);
    const warnings = await saveModel((content) => saveCheckpoint(target, content), ready);
    expect(warnings).toEqual([]);
    for (const file of ["config.json", "generation_config.json"]) {
      const text = await readFile(join(target, file), "utf8");
      expect(text).toBe(await readFile(join(recorded(family), file), "utf8"));
    }
    const after = await openCheckpoint(target);
    expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
    for (const [name, { dtype: stored, shape }] of before.tensors) {
      expect(after.tensors.get(name)).toMatchObject({ dtype: stored, shape });
      const same = Buffer.compare((await after.read(name)).bytes, (await before.read(name)).bytes);
      expect(same, name).toBe(0);
    }
    expect(after.metadata).toEqual(before.metadata);
    await before.close();
    await after.close();
  });
});

describe.each(families)("%s: a new model", (family) => {
  it("comes back with the same bits, logits and state", async () => {
    const config = { ...tinyConfigs[family], moiety: { selection_bias: true } } as JsonObject;
    const ready = initModel(config, randomKey(3), { backend });
    const bias = leavesOf(ready.state);
    expect(bias.length).toBeGreaterThan(0);
    const { source, warnings } = await saveToMemory(ready);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/other loaders.*would give other logits/);
    expect([...source.tensors.keys()]).toContain("model.layers.1.mlp.gate.e_score_correction_bias");
    const again = await loadModel(source, { backend });
    expect(again.config.decoder).toEqual(ready.config.decoder);
    for (const tree of ["params", "state"] as const) {
      for (const { path, leaf } of leavesOf(ready[tree])) {
        const other = at(again[tree], path) as typeof leaf;
        expect(await bits(other), path).toEqual(await bits(leaf));
      }
    }
    const ids = tokens(backend, 2, 5);
    const logits = async ({ model, params, state }: ReadyModel): Promise<unknown> =>
      apply(model, params, state, ids).logits.read();
    expect(await logits(again)).toEqual(await logits(ready));
  });

  it("has the configuration keys and tensor names of a recorded one", async () => {
    const { content } = await saveToMemory(initModel(plain(family), randomKey(1), { backend }));
    const checkpoint = await openCheckpoint(recorded(family));
    const keys = (value: object | undefined): string[] => Object.keys(value ?? {}).sort();
    expect(keys(content.config.value)).toEqual(keys(checkpoint.config.value));
    expect(keys(content.generationConfig?.value)).toEqual(keys(checkpoint.generationConfig?.value));
    expect([...content.config.floats]).toEqual(
      expect.arrayContaining([...checkpoint.config.floats]),
    );
    const names = [...content.tensors].map(({ name }) => name);
    const likeRecorded = [...checkpoint.tensors.keys()].filter(
      (name) => Number(/experts\.(\d+)/.exec(name)?.[1] ?? 0) < 4,
    );
    expect(names.sort()).toEqual(likeRecorded.sort());
    await checkpoint.close();
  });
});

it("leaves out the head of a tied model, and ignores one that is there", async () => {
  const config = { ...tinyConfigs["olmoe"], attention_bias: false } as JsonObject;
  const { content, source } = await saveToMemory(initModel(config, randomKey(1), { backend }));
  expect([...content.tensors].map(({ name }) => name)).not.toContain("lm_head.weight");
  const table = source.tensors.get("model.embed_tokens.weight");
  if (!table) throw new Error("no embedding");
  const tensors = new Map([...source.tensors, ["lm_head.weight", { ...table }]]);
  const { params } = await loadModel({ ...source, tensors }, { backend });
  expect(params.head).toBeUndefined();
});

describe("a checkpoint that does not fit is refused before anything is uploaded", () => {
  const load = async (change: JsonObject, edit?: (names: Map<string, unknown>) => void) => {
    const { source } = await saveToMemory(
      initModel(tinyConfigs["qwen3_moe"] ?? {}, randomKey(1), { backend }),
    );
    const tensors = new Map(source.tensors);
    edit?.(tensors);
    const config = jsonDocument({ ...source.config.value, ...change });
    const live = backend.statistics().liveBuffers;
    const error: unknown = await loadModel({ ...source, config, tensors }, { backend }).catch(
      (reason: unknown) => reason,
    );
    expect(backend.statistics().liveBuffers).toBe(live);
    expect(error).toBeInstanceOf(CheckpointMismatchError);
    return (error as CheckpointMismatchError).report;
  };

  it("names missing tensors", async () => {
    const name = "model.layers.1.mlp.experts.2.up_proj.weight";
    const report = await load({}, (tensors) => tensors.delete(name));
    expect(report.missing).toEqual([{ name, path: "layers.1.moe.experts.gateUp" }]);
  });

  it("names unexpected tensors", async () => {
    const report = await load({ num_hidden_layers: 1 });
    expect(report.unexpected).toContain("model.layers.1.input_layernorm.weight");
    expect(report.missing).toEqual([]);
  });

  it("names misshaped tensors", async () => {
    const report = await load({ moe_intermediate_size: 6 });
    expect(report.misshaped[0]).toMatchObject({ expected: [6, 8], found: [5, 8] });
  });
});

it("refuses parameters that do not fit the configuration", async () => {
  const ready = initModel(tinyConfigs["olmoe"] ?? {}, randomKey(1), { backend });
  const { norm } = ready.params;
  const embedding = ready.params.embedding as Tensor;
  await expect(
    saveToMemory({ ...ready, params: { ...ready.params, norm: embedding } }),
  ).rejects.toThrow(ShapeError);
  await expect(saveToMemory({ ...ready, params: { ...ready.params, head: norm } })).rejects.toThrow(
    /head, which this configuration has no place for/,
  );
  await expect(saveToMemory({ ...ready, params: { ...ready.params, layers: [] } })).rejects.toThrow(
    /layers\.0\.attentionNorm is missing/,
  );
});

async function bits(leaf: ReturnType<typeof leavesOf>[number]["leaf"]): Promise<Uint32Array> {
  if (!("read" in leaf)) throw new Error("quantised");
  const data = await leaf.read();
  return new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4);
}

function plain(family: string): JsonObject {
  const { attention_bias: _, mlp_only_layers: __, ...config } = tinyConfigs[family] ?? {};
  return { ...config, tie_word_embeddings: false };
}
