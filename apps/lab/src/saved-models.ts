import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint, saveCheckpoint } from "@moiety/checkpoints/node";
import { FormatError } from "@moiety/core";
import { type ReadyModel, saveModel } from "@moiety/models";

/** A model folder that was written. */
export interface SavedModel {
  /** SHA-256 of `model.safetensors`, by which a resumed run knows its own file. */
  readonly digest: string;
  /** What other loaders would make something else of, a line each. */
  readonly warnings: readonly string[];
}

/** Writes a model in Hugging Face's layout. */
export async function writeModel(folder: string, ready: ReadyModel): Promise<SavedModel> {
  const warnings = await saveModel((content) => saveCheckpoint(folder, content), ready);
  return { digest: await digestOf(weightsOf(folder)), warnings };
}

/**
 * Looks whether a model folder is still what a run wrote there, before anything is overwritten. One
 * that is gone is no fault: it is written anew.
 *
 * @param digest what `writeModel` gave, where it is known.
 * @throws FormatError for weights that are truncated, damaged or not the run's.
 */
export async function verifyModel(folder: string, digest: string | undefined): Promise<void> {
  const weights = weightsOf(folder);
  if (!existsSync(weights)) return;
  const checkpoint = await openCheckpoint(folder);
  await checkpoint.close();
  if (digest === undefined || digest === (await digestOf(weights))) return;
  throw new FormatError(
    `${weights} is not the file that the run saved (its SHA-256 differs), so it is damaged or ` +
      "somebody else's: move it away, and the run writes its own again",
    0,
  );
}

function weightsOf(folder: string): string {
  return join(folder, "model.safetensors");
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}
