import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import create from "@moiety/backend-cpu";
import { openCheckpoint } from "@moiety/checkpoints/node";
import { FormatError, apply } from "@moiety/core";
import { loadModel } from "@moiety/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runExperiment } from "./experiment.ts";
import type { ExperimentContext } from "./experiment-context.ts";
import { type RunFolder, createRunFolder } from "./folder.ts";
import { presets } from "./presets.ts";
import type { Balance } from "./presets.ts";
import type { ExperimentResult, StepRecord } from "./result.ts";
import type { Settings } from "./settings.ts";
import { loadText } from "./text.ts";
import type { Text } from "./text.ts";

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

const { model, training, evaluation } = presets.default;
const tiny: Omit<Settings, "text" | "textDigest"> = {
  preset: "default",
  seed: 5,
  backend: "cpu",
  balance: "switch",
  minutes: null,
  steps: 6,
  model: {
    ...model,
    hiddenSize: 16,
    numHiddenLayers: 2,
    numExperts: 4,
    intermediateSize: 8,
    biasUpdateRate: 0.01,
  },
  training: { ...training, batchSize: 2, sequenceLength: 16, warmupSteps: 2 },
  evaluation: { ...evaluation, windows: 6, evaluations: 2 },
};

let home: string;
let text: Text;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "moiety-lab-"));
  const files = ["north", "south"].map((name, index) => {
    const path = join(home, `${name}.txt`);
    const line = index === 0 ? "the wind blows over the hills\n" : "0123456789 abcdef\n";
    writeFileSync(path, line.repeat(60));
    return path;
  });
  text = loadText(files, tiny.training.sequenceLength);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

interface Run {
  readonly result: ExperimentResult;
  readonly records: readonly StepRecord[];
  /** Length of the schedule, and the steps that were done before. */
  readonly begun: readonly [steps: number, done: number];
}

interface RunOptions {
  readonly balance?: Balance;
  readonly steps?: number | null;
  readonly minutes?: number;
  readonly stopAfter?: number;
  readonly abortAt?: number;
}

async function run(folder: RunFolder, options: RunOptions = {}): Promise<Run> {
  const { balance = "switch", steps = 6, minutes = null, stopAfter = null, abortAt } = options;
  const settings: Settings = {
    ...tiny,
    balance,
    steps,
    minutes,
    text: text.files,
    textDigest: text.digest,
  };
  const records: StepRecord[] = [];
  let begun: Run["begun"] = [0, 0];
  const abort = new AbortController();
  const context: ExperimentContext = {
    settings,
    text,
    folder,
    stopAfter,
    signal: abort.signal,
    begin: (length, done) => (begun = [length, done]),
    step(record) {
      records.push(record);
      if (record.step === abortAt && record.model === "dense") abort.abort();
    },
    flush: () => undefined,
    note: () => undefined,
  };
  return { result: await runExperiment(context), records, begun };
}

const newFolder = (name: string): Promise<RunFolder> => createRunFolder(join(home, name));
const weights = (folder: RunFolder): Buffer[] =>
  [folder.model, folder.denseModel].map((path) => readFileSync(join(path, "model.safetensors")));
const numbers = (records: readonly StepRecord[]): object[] =>
  records.map(({ tokensPerSecond: _, ...rest }) => rest);

describe("the experiment", () => {
  it("trains both models, compares them, and goes on to the same bits", async () => {
    const whole = await newFolder("whole");
    const straight = await run(whole);
    expect(straight.begun).toEqual([6, 0]);
    expect(straight.records.map(({ step, model: name }) => `${name}${step}`)).toEqual(
      [1, 2, 3, 4, 5, 6].flatMap((step) => [`sparse${step}`, `dense${step}`]),
    );
    expect(straight.result.ending).toBe("finished");
    const { evaluation: found } = straight.result.models.sparse;
    expect(found?.bitsPerByte.length).toBe(straight.result.windowDomains.length);
    const perWindow = tiny.training.sequenceLength * tiny.model.numExpertsPerTok;
    const assigned = found?.load.map((layer) => layer.flat().reduce((a, b) => a + b, 0));
    expect(assigned).toEqual([0, 1].map(() => perWindow * straight.result.windowDomains.length));
    const scored = straight.records.filter((record) => record.heldOutBitsPerByte !== undefined);
    expect(scored.map(({ step }) => step)).toEqual([3, 3, 6, 6]);

    const parts = await newFolder("parts");
    const first = await run(parts, { stopAfter: 2 });
    expect(first.result).toMatchObject({ ending: "stopped", stepsDone: 2, steps: 6 });
    const second = await run(parts, { abortAt: 4 });
    expect(second.begun).toEqual([6, 2]);
    expect(second.result).toMatchObject({ ending: "interrupted", stepsDone: 4 });
    expect(second.result.models.sparse.evaluation).toBeNull();
    const third = await run(parts);
    expect(weights(parts)).toEqual(weights(whole));
    expect(numbers([...first.records, ...second.records, ...third.records])).toEqual(
      numbers(straight.records),
    );
    expect(third.result.models.dense.evaluation).toEqual(straight.result.models.dense.evaluation);
  });

  it("learns", async () => {
    const { records } = await run(await newFolder("learning"), { steps: 40 });
    for (const name of ["sparse", "dense"] as const) {
      const curve = records.filter((record) => record.model === name);
      expect(curve.at(-1)?.bitsPerByte).toBeLessThan((curve[0]?.bitsPerByte ?? 0) - 1.5);
    }
  });

  it("fixes the steps of a time-limited run once", async () => {
    const folder = await newFolder("timed");
    const { begun } = await run(folder, { steps: null, minutes: 0.02, stopAfter: 1 });
    const [steps] = begun;
    expect(steps).toBeGreaterThan(0);
    const again = await run(folder, { steps: null, minutes: 5, stopAfter: 2 });
    expect(again.begun).toEqual([steps, 1]);
  });

  it("saves models that load again, like any OLMoE folder", async () => {
    const folder = await newFolder("saved");
    await run(folder, { steps: 2 });
    for (const path of [folder.model, folder.denseModel]) {
      expect(readdirSync(path).sort()).toEqual([
        "config.json",
        "generation_config.json",
        "model.safetensors",
      ]);
      const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8")) as object;
      expect(Object.keys(config).sort()).toEqual([...olmoeKeys].sort());
      const checkpoint = await openCheckpoint(path);
      const backend = await create();
      const loaded = await loadModel(checkpoint, { backend });
      await checkpoint.close();
      const ids = backend.tensor([1, 2, 3], { shape: [1, 3], dtype: "i32" });
      const { logits } = apply(loaded.model, loaded.params, loaded.state, ids);
      expect([...(await logits.read())].every(Number.isFinite)).toBe(true);
    }
  });

  it("keeps a selection bias beside the family's layout, and says so", async () => {
    const folder = await newFolder("bias");
    const { result } = await run(folder, { steps: 3, balance: "bias" });
    expect(result.notes.join()).toMatch(/other loaders/);
    const checkpoint = await openCheckpoint(folder.model);
    expect(checkpoint.config.value["moiety"]).toEqual({ selection_bias: true });
    const backend = await create();
    const { state } = await loadModel(checkpoint, { backend });
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
    const folder = await newFolder("damaged-model");
    await run(folder, { stopAfter: 1 });
    const path = join(folder.model, "model.safetensors");
    const whole = readFileSync(path);
    const flipped = Buffer.from(whole);
    flipped[flipped.length - 3] = (flipped.at(-3) ?? 0) ^ 1;
    for (const damaged of [whole.subarray(0, 500), whole.subarray(0, whole.length - 4), flipped]) {
      writeFileSync(path, damaged);
      await expect(run(folder)).rejects.toThrow(FormatError);
      expect(readFileSync(path).equals(damaged)).toBe(true);
    }
    rmSync(path);
    await run(folder, { stopAfter: 1 });
    expect(readFileSync(path).equals(whole)).toBe(true);
  });

  it("refuses a damaged checkpoint and leaves everything as it was", async () => {
    const folder = await newFolder("damaged");
    await run(folder, { stopAfter: 1 });
    const before = weights(folder);
    const [file = ""] = readdirSync(folder.checkpoint).filter((name) =>
      name.endsWith(".safetensors"),
    );
    truncateSync(join(folder.checkpoint, file), 1000);
    await expect(run(folder)).rejects.toThrow(FormatError);
    expect(weights(folder)).toEqual(before);
  });
});
