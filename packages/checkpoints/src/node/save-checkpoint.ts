import { join } from "node:path";
import type { JsonDocument } from "../json/document.ts";
import { formatJsonDocument } from "../json/format.ts";
import type { SafetensorsMetadata } from "../safetensors/info.ts";
import { type TensorEntry, streamSafetensors } from "../safetensors/write.ts";
import { makeFolder } from "./make-folder.ts";
import { type StagedFile, stageFile } from "./stage.ts";

/** What a model folder is made of. */
export interface CheckpointContent {
  /** Becomes `config.json`. */
  readonly config: JsonDocument;
  /** Becomes `generation_config.json`; without it none is written. */
  readonly generationConfig?: JsonDocument | undefined;
  /** Become `model.safetensors`. */
  readonly tensors: Iterable<TensorEntry>;
  /** The metadata of the weights; `{ format: "pt" }`, without which Hugging Face refuses them, unless given. */
  readonly metadata?: SafetensorsMetadata | undefined;
}

/**
 * Writes a model folder just as Hugging Face's `save_pretrained` does, making the folder if need be.
 * All files are first written whole under temporary names, then renamed, the weights last: if
 * anything fails while they are written, what stood in the folder is untouched. Other files in the
 * folder are left alone.
 *
 * Throws `ConfigError` for a folder that cannot be written and for values that JSON cannot hold, and
 * what `writeSafetensors` throws.
 */
export async function saveCheckpoint(folder: string, content: CheckpointContent): Promise<void> {
  const files: [name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>][] = [
    ["config.json", textOf(content.config)],
  ];
  if (content.generationConfig !== undefined) {
    files.push(["generation_config.json", textOf(content.generationConfig)]);
  }
  const { tensors, metadata = { format: "pt" } } = content;
  files.push(["model.safetensors", streamSafetensors(tensors, metadata)]);
  await makeFolder(folder);
  const staged: StagedFile[] = [];
  try {
    for (const [name, chunks] of files) staged.push(await stageFile(join(folder, name), chunks));
    for (const file of staged) await file.commit();
  } catch (error) {
    await Promise.all(staged.map((file) => file.discard()));
    throw error;
  }
}

function textOf(document: JsonDocument): Uint8Array[] {
  return [new TextEncoder().encode(formatJsonDocument(document))];
}
