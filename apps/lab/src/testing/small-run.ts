import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import create from "@moiety/backend-wasm";
import type { ExperimentContext } from "../experiment-context.ts";
import { runExperiment } from "../experiment.ts";
import { type RunFolder, createRunFolder } from "../folder.ts";
import type { ExperimentResult, StepRecord } from "../result.ts";
import { type NewSettings, type Settings, newSettings } from "../settings.ts";
import { type Text, loadText } from "../text.ts";
import type { Worker } from "../worker.ts";

/** A run that was taken. */
export interface SmallRun {
  readonly result: ExperimentResult;
  readonly records: readonly StepRecord[];
  /** Length of the schedule, and the steps that were done before. */
  readonly begun: readonly [steps: number, done: number];
}

/** What a small run may have of its own. */
export interface SmallRunOptions {
  readonly router?: string;
  readonly balance?: string;
  /** Layers of the models; two unless given. */
  readonly layers?: number;
  readonly steps?: number | null;
  readonly minutes?: number;
  readonly stopAfter?: number;
  readonly abortAt?: number;
}

/** A place for small runs, with a text of two domains. */
export interface SmallRuns {
  /** What all of them compute on. */
  readonly opened: Worker;
  newFolder(name: string): Promise<RunFolder>;
  /** Runs the experiment in a folder, or goes on with it. */
  run(folder: RunFolder, options?: SmallRunOptions): Promise<SmallRun>;
  dispose(): Promise<void>;
}

/** Settings of four steps that take no time. */
export function smallSettings({
  layers = 2,
  ...choice
}: Pick<SmallRunOptions, "router" | "balance" | "layers"> = {}): NewSettings {
  const chosen = newSettings({ ...choice, preset: "small", experts: 4, seed: 5, steps: 4 });
  const { model, training, evaluation } = chosen;
  return {
    ...chosen,
    model: {
      ...model,
      numHiddenLayers: layers,
      hiddenSize: 16,
      intermediateSize: 8,
      biasUpdateRate: 0.01,
    },
    training: { ...training, batchSize: 2, sequenceLength: 16, warmupSteps: 2 },
    evaluation: { ...evaluation, windows: 4, evaluations: 2 },
  };
}

/** Makes a place for small runs. */
export async function smallRuns(): Promise<SmallRuns> {
  const backend = await create({ threads: 1 });
  const opened: Worker = { backend, name: "wasm", worker: "wasm", line: "backend wasm" };
  const home = mkdtempSync(join(tmpdir(), "moiety-lab-"));
  const files = ["north", "south"].map((name, index) => {
    const path = join(home, `${name}.txt`);
    const line = index === 0 ? "the wind blows over the hills\n" : "0123456789 abcdef\n";
    writeFileSync(path, line.repeat(60));
    return path;
  });
  const text = loadText(files, smallSettings().training.sequenceLength);
  return {
    newFolder: (name) => createRunFolder(join(home, name)),
    opened,
    run: (folder, options = {}) => runIn(folder, text, opened, options),
    dispose: async () => {
      rmSync(home, { recursive: true, force: true });
      await opened.backend.dispose();
    },
  };
}

async function runIn(
  folder: RunFolder,
  text: Text,
  opened: Worker,
  { steps = 4, minutes, stopAfter, abortAt, ...choice }: SmallRunOptions,
): Promise<SmallRun> {
  const settings: Settings = {
    ...smallSettings(choice),
    steps,
    minutes: minutes ?? null,
    text: text.files,
    textDigest: text.digest,
  };
  const records: StepRecord[] = [];
  let begun: SmallRun["begun"] = [0, 0];
  const abort = new AbortController();
  const context: ExperimentContext = {
    settings,
    opened,
    text,
    folder,
    stopAfter: stopAfter ?? null,
    signal: abort.signal,
    begin: (length, done) => (begun = [length, done]),
    step(record) {
      records.push(record);
      if (record.step === abortAt && record.model === "hash") abort.abort();
    },
    flush: () => undefined,
    note: () => undefined,
  };
  return { result: await runExperiment(context), records, begun };
}

/** The digests of the weights of all models that a run saved. */
export function savedWeights(folder: RunFolder): string[] {
  return [folder.model, folder.denseModel, folder.hashModel].map((path) =>
    createHash("sha256")
      .update(readFileSync(join(path, "model.safetensors")))
      .digest("hex"),
  );
}

/** Records without what a clock decides. */
export function timeless(records: readonly StepRecord[]): object[] {
  return records.map(({ tokensPerSecond: _, ...rest }) => rest);
}
