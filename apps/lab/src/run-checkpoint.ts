import { existsSync } from "node:fs";
import type { Backend } from "@moiety/core";
import { loadTrainings, saveTrainings } from "@moiety/train/node";
import type { ExperimentContext } from "./experiment-context.ts";
import type { RunFolder } from "./folder.ts";
import type { Snapshot } from "./learner.ts";
import type { ModelName } from "./result.ts";
import { verifyModel } from "./saved-models.ts";
import { type Twins, modelNames } from "./twins.ts";

/** Where a run stands. */
export interface Progress {
  readonly snapshots: Twins<Snapshot>;
  /** Seconds of training so far, of each model. */
  readonly seconds: Twins<number>;
}

/** What stands beside the snapshots in a checkpoint. */
interface SavedProgress extends Pick<Progress, "seconds"> {
  /** Digests of the model folders, where they hold the same step. */
  readonly digests?: Twins<string> | undefined;
}

/**
 * The checkpoint of a run that goes on; undefined where there is none yet.
 *
 * @throws FormatError where it or a saved model is damaged.
 */
export async function loadProgress(
  folder: RunFolder,
  backend: Backend,
): Promise<Progress | undefined> {
  if (!existsSync(folder.checkpoint)) return undefined;
  const { snapshots, metadata } = await loadTrainings(
    folder.checkpoint,
    backend,
    undefined,
    modelNames,
  );
  const { seconds, digests } = metadata as unknown as SavedProgress;
  for (const name of modelNames) await verifyModel(modelFolder(name, folder), digests?.[name]);
  return { snapshots: snapshots as unknown as Twins<Snapshot>, seconds };
}

/**
 * Saves all models in one file, so that a run that is cut off never has them at different steps.
 *
 * @param digests of the model folders, where they hold the same step.
 */
export async function saveProgress(
  { folder, flush }: Pick<ExperimentContext, "folder" | "flush">,
  { snapshots, seconds }: Progress,
  digests?: Twins<string>,
): Promise<void> {
  flush();
  const metadata = { seconds, ...(digests && { digests }) };
  await saveTrainings(folder.checkpoint, snapshots, { metadata });
}

/** Where a model is written in Hugging Face's layout. */
export function modelFolder(name: ModelName, folder: RunFolder): string {
  return { sparse: folder.model, dense: folder.denseModel, hash: folder.hashModel }[name];
}
