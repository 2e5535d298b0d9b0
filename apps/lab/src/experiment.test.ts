import { cpSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "@moiety/checkpoints/node";
import { FormatError, apply } from "@moiety/core";
import { loadModel } from "@moiety/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunFolder } from "./folder.ts";
import {
  type SmallRun,
  type SmallRuns,
  savedWeights,
  smallRuns,
  smallSettings,
  timeless,
} from "./testing/small-run.ts";
import { modelNames } from "./twins.ts";

/** Keys that transformers 4.57.6 writes into the `config.json` of an OLMoE. */
const olmoeKeys = [
  "architectures attention_bias attention_dropout bos_token_id clip_qkv dtype eos_token_id",
  "hidden_act hidden_size initializer_range intermediate_size max_position_embeddings model_type",
  "norm_topk_prob num_attention_heads num_experts num_experts_per_tok num_hidden_layers",
  "num_key_value_heads output_router_logits pad_token_id rms_norm_eps rope_scaling rope_theta",
  "router_aux_loss_coef tie_word_embeddings transformers_version use_cache vocab_size",
]
  .join(" ")
  .split(" ");

let runs: SmallRuns;
/** A run from its first step to its last, and one that stopped after the first. */
let whole: RunFolder;
let straight: SmallRun;
let begun: RunFolder;
let first: SmallRun;
beforeAll(async () => {
  runs = await smallRuns();
  whole = await runs.newFolder("whole");
  straight = await runs.run(whole);
  begun = await runs.newFolder("begun");
  first = await runs.run(begun, { stopAfter: 1 });
}, 60_000);

/** A copy of the run that stopped. */
async function copyOfBegun(name: string): Promise<RunFolder> {
  const folder = await runs.newFolder(name);
  cpSync(begun.path, folder.path, { recursive: true });
  return folder;
}

afterAll(() => runs.dispose());

describe("the experiment", () => {
  it("trains all models, compares them, and goes on to the same bits", async () => {
    expect(straight.begun).toEqual([4, 0]);
    expect(straight.records.map(({ step, model: name }) => `${name}${step}`)).toEqual(
      [1, 2, 3, 4].flatMap((step) => [`sparse${step}`, `dense${step}`, `hash${step}`]),
    );
    expect(straight.result.ending).toBe("finished");
    const { evaluation: found } = straight.result.models.sparse;
    expect(found?.bitsPerByte.length).toBe(straight.result.windowDomains.length);
    const { training, model } = smallSettings();
    const perWindow = training.sequenceLength * model.numExpertsPerTok;
    const assigned = found?.load.map((layer) => layer.flat().reduce((a, b) => a + b, 0));
    expect(assigned).toEqual([0, 1].map(() => perWindow * straight.result.windowDomains.length));
    const scored = straight.records.filter((record) => record.heldOutBitsPerByte !== undefined);
    expect(scored.map(({ step }) => step)).toEqual([2, 2, 2, 4, 4, 4]);

    const parts = await copyOfBegun("parts");
    expect(first.result).toMatchObject({ ending: "stopped", stepsDone: 1, steps: 4 });
    const second = await runs.run(parts, { abortAt: 3 });
    expect(second.begun).toEqual([4, 1]);
    expect(second.result).toMatchObject({ ending: "interrupted", stepsDone: 3 });
    expect(second.result.models.sparse.evaluation).toBeNull();
    const third = await runs.run(parts);
    expect(savedWeights(parts)).toEqual(savedWeights(whole));
    expect(timeless([...first.records, ...second.records, ...third.records])).toEqual(
      timeless(straight.records),
    );
    for (const name of modelNames) {
      expect(third.result.models[name].evaluation).toEqual(straight.result.models[name].evaluation);
    }
  }, 60_000);

  it("learns", async () => {
    const { records } = await runs.run(await runs.newFolder("learning"), { steps: 12 });
    for (const name of modelNames) {
      const curve = records.filter((record) => record.model === name);
      expect(curve.at(-1)?.bitsPerByte).toBeLessThan((curve[0]?.bitsPerByte ?? 0) - 0.3);
    }
  }, 60_000);

  it("fixes the steps of a time-limited run once", async () => {
    const folder = await runs.newFolder("timed");
    const { begun } = await runs.run(folder, { steps: null, minutes: 0.02, stopAfter: 1 });
    const [steps] = begun;
    expect(steps).toBeGreaterThan(0);
    const again = await runs.run(folder, { steps: null, minutes: 5, stopAfter: 2 });
    expect(again.begun).toEqual([steps, 1]);
  });

  it("saves models that load again, like any OLMoE folder", async () => {
    for (const path of [whole.model, whole.denseModel]) {
      expect(readdirSync(path).sort()).toEqual([
        "config.json",
        "generation_config.json",
        "model.safetensors",
      ]);
      const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8")) as object;
      expect(Object.keys(config).sort()).toEqual([...olmoeKeys].sort());
      const checkpoint = await openCheckpoint(path);
      const { backend } = runs.opened;
      const loaded = await loadModel(checkpoint, { backend });
      await checkpoint.close();
      const ids = backend.tensor([1, 2, 3], { shape: [1, 3], dtype: "i32" });
      const { logits } = apply(loaded.model, loaded.params, loaded.state, ids);
      expect([...(await logits.read())].every(Number.isFinite)).toBe(true);
    }
  });

  it("keeps a selection bias beside the family's layout, and says so", async () => {
    const folder = await runs.newFolder("bias");
    const { result } = await runs.run(folder, { steps: 3, balance: "bias" });
    expect(result.notes.join()).toMatch(/other loaders/);
    const checkpoint = await openCheckpoint(folder.model);
    expect(checkpoint.config.value["moiety"]).toEqual({ selection_bias: true });
    const { state } = await loadModel(checkpoint, { backend: runs.opened.backend });
    await checkpoint.close();
    const bias = state.layers[0]?.moe?.router.selectionBias;
    const moved = [...((await bias?.read()) ?? [])];
    expect(moved.some((value) => value !== 0)).toBe(true);
    expect(moved.every((value) => Math.abs(value) <= 0.031)).toBe(true);
    const dense = JSON.parse(
      readFileSync(join(folder.denseModel, "config.json"), "utf8"),
    ) as object;
    expect(dense).not.toHaveProperty("moiety");
  });

  it("refuses damaged models and leaves everything as it was", async () => {
    const folder = await copyOfBegun("damaged-model");
    const path = join(folder.model, "model.safetensors");
    const whole = readFileSync(path);
    const flipped = Buffer.from(whole);
    flipped[flipped.length - 3] = (flipped.at(-3) ?? 0) ^ 1;
    for (const damaged of [whole.subarray(0, 500), whole.subarray(0, whole.length - 4), flipped]) {
      writeFileSync(path, damaged);
      await expect(runs.run(folder)).rejects.toThrow(FormatError);
      expect(readFileSync(path).equals(damaged)).toBe(true);
    }
    rmSync(path);
    await runs.run(folder, { stopAfter: 1 });
    expect(readFileSync(path).equals(whole)).toBe(true);
  });

  it("refuses a damaged checkpoint and leaves everything as it was", async () => {
    const folder = await copyOfBegun("damaged");
    const before = savedWeights(folder);
    const [file = ""] = readdirSync(folder.checkpoint).filter((name) =>
      name.endsWith(".safetensors"),
    );
    truncateSync(join(folder.checkpoint, file), 1000);
    await expect(runs.run(folder)).rejects.toThrow(FormatError);
    expect(savedWeights(folder)).toEqual(before);
  });
});
