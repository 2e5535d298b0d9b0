import { createHash, randomUUID } from "node:crypto";
import { join } from "node:path";
import { type TensorEntry, hostEntry } from "@moiety/checkpoints";
import { makeFolder, writeSafetensors } from "@moiety/checkpoints/node";
import { ConfigError, type Tensor } from "@moiety/core";
import type { TrainingSnapshot } from "../snapshot.ts";
import { storedAs } from "./dtype.ts";
import { MANIFEST, removeStale, writeAtomically } from "./folder.ts";
import type { Manifest, SavedRun } from "./manifest.ts";
import { describeTree, plainValue } from "./tree.ts";

/** Options of {@link saveTraining}. */
export interface SaveOptions {
  /** Anything that JSON can hold, to be found again when loading. */
  readonly metadata?: unknown;
}

/** Any snapshot. */
type AnySnapshot = TrainingSnapshot<unknown, unknown>;

/** Name of the run where there is only one. */
export const ONLY_RUN = "training";

/**
 * Saves a snapshot into a folder: tensors as safetensors, all else in `training.json`. Loading it
 * goes on to the same bits.
 *
 * Nothing is ever half-written: the tensors are written beside and put onto the disk under a new
 * name, then the manifest that names them is renamed into its place. Until that moment the folder
 * holds the snapshot before; afterwards the old tensors are removed.
 *
 * @throws ConfigError for a folder that cannot be written and values that no file can hold
 */
export async function saveTraining(
  folder: string,
  snapshot: AnySnapshot,
  options: SaveOptions = {},
): Promise<void> {
  await saveTrainings(folder, { [ONLY_RUN]: snapshot }, options);
}

/**
 * Saves several runs at once, such as two models that are trained side by side: either all of them
 * are there, or all as they were before. See {@link saveTraining}.
 *
 * @throws ConfigError for a folder that cannot be written and values that no file can hold
 */
export async function saveTrainings(
  folder: string,
  snapshots: Readonly<Record<string, AnySnapshot>>,
  { metadata = null }: SaveOptions = {},
): Promise<void> {
  const tensors: (readonly [name: string, tensor: Tensor])[] = [];
  const take = (name: string, tensor: Tensor): void => void tensors.push([name, tensor]);
  const runs = Object.entries(snapshots).map(([name, snapshot]): readonly [string, SavedRun] => [
    name,
    {
      params: describeTree(snapshot.params, `${name}.params`, take),
      state: describeTree(snapshot.state, `${name}.state`, take),
      optimizer: describeTree(snapshot.optimizer, `${name}.optimizer`, take),
      step: snapshot.step,
      steps: snapshot.steps,
      key: snapshot.key,
    },
  ]);
  if (runs.length === 0) throw new ConfigError("there is no run to save", "snapshots", snapshots);
  const plainMetadata = plainValue(metadata, "metadata");
  await makeFolder(folder);
  const hash = createHash("sha256");
  const file = `training-${runs[0]?.[1].step ?? 0}-${randomUUID()}.safetensors`;
  const entries = tensors.map(([name, tensor]) =>
    entryOf(name, tensor, (bytes) => void hash.update(bytes)),
  );
  await writeSafetensors(join(folder, file), entries);
  const manifest: Manifest = {
    format: "moiety-training",
    version: 1,
    file,
    sha256: hash.digest("hex"),
    runs: Object.fromEntries(runs),
    metadata: plainMetadata,
  };
  await writeAtomically(folder, MANIFEST, `${JSON.stringify(manifest, undefined, 1)}\n`);
  await removeStale(folder, file);
}

/** Reads the tensor only when its turn comes, so that one is held on the host at a time. */
function entryOf(name: string, tensor: Tensor, seen: (bytes: Uint8Array) => void): TensorEntry {
  const { shape, dtype } = tensor;
  return {
    name,
    dtype: storedAs(dtype),
    shape,
    async bytes() {
      const data = await tensor.read();
      const bytes = await hostEntry(name, { dtype, shape, data }).bytes();
      seen(bytes);
      return bytes;
    },
  };
}
