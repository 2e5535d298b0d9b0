import { join } from "node:path";
import { INDEX, indexText, splitShards } from "../folder/split-shards.ts";
import type { JsonDocument } from "../json/document.ts";
import { formatJsonDocument } from "../json/format.ts";
import type { SafetensorsMetadata } from "../safetensors/info.ts";
import { type TensorEntry, streamSafetensors } from "../safetensors/write.ts";
import { pathError } from "./errors.ts";
import { makeFolder } from "./make-folder.ts";
import { removeOthers, setAside } from "./set-aside.ts";
import { type StagedFile, stageFile } from "./stage.ts";

/** What a model folder is made of. */
export interface CheckpointContent {
  /** Becomes `config.json`. */
  readonly config: JsonDocument;
  /** Becomes `generation_config.json`; without it none is written. */
  readonly generationConfig?: JsonDocument | undefined;
  /** Become `model.safetensors`, or its shards. */
  readonly tensors: Iterable<TensorEntry>;
  /** The metadata of the weights; `{ format: "pt" }`, without which Hugging Face refuses them, unless given. */
  readonly metadata?: SafetensorsMetadata | undefined;
  /**
   * Weights of more bytes are spread over files of at most so many, with an index. 5 GB unless given, as
   * in Hugging Face's libraries.
   */
  readonly maxShardBytes?: number | undefined;
  /** How many parameters the model has, for the index; left out unless given. */
  readonly totalParameters?: number | undefined;
}

const MAX_SHARD_BYTES = 5e9;

/**
 * Writes a model folder just as Hugging Face's `save_pretrained` does, making the folder if need be.
 * All files are first written whole under temporary names and brought onto the disk, then renamed, the
 * weights last: whenever this ends, even by force, the folder has the old weights whole or the new ones.
 * Weights of before are removed once the new ones stand; other files in the folder are left alone.
 *
 * Throws `ConfigError` for a folder that cannot be written and for values that JSON cannot hold, and
 * what `writeSafetensors` throws.
 */
export async function saveCheckpoint(folder: string, content: CheckpointContent): Promise<void> {
  const { tensors, metadata = { format: "pt" }, maxShardBytes = MAX_SHARD_BYTES } = content;
  const shards = splitShards(tensors, maxShardBytes);
  const weights: NamedFile[] = shards.map(({ file, entries }) => [
    file,
    streamSafetensors(entries, metadata),
  ]);
  if (shards.length > 1) {
    weights.push([INDEX, bytesOf(indexText(shards, content.totalParameters))]);
  }
  const files: NamedFile[] = [["config.json", textOf(content.config)]];
  if (content.generationConfig !== undefined) {
    files.push(["generation_config.json", textOf(content.generationConfig)]);
  }
  const names = weights.map(([name]) => name);
  await makeFolder(folder);
  const staged: StagedFile[] = [];
  try {
    for (const [name, chunks] of [...files, ...weights]) {
      staged.push(await stageFile(join(folder, name), chunks));
    }
    if (shards.length > 1) await setAside(folder, names);
    for (const file of staged) await file.commit();
    await removeOthers(folder, names);
  } catch (error) {
    await Promise.all(staged.map((file) => file.discard()));
    const advice = "choose a folder that can be written";
    throw pathError(error, { action: "write into", path: folder, key: "folder", advice });
  }
}

type NamedFile = [name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>];

function textOf(document: JsonDocument): Uint8Array[] {
  return bytesOf(formatJsonDocument(document));
}

function bytesOf(text: string): Uint8Array[] {
  return [new TextEncoder().encode(text)];
}
