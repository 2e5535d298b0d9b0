import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";
import { type JsonDocument, parseJsonDocument } from "../json/document.ts";
import type { SafetensorsMetadata, TensorReader } from "../safetensors/info.ts";
import { openSafetensors, tensorReader } from "../safetensors/read.ts";
import { pathError, systemCode } from "./errors.ts";
import { type FileSource, fileSource } from "./file-source.ts";
import { readSmallFile } from "./json-file.ts";
import { type OpenShard, matchShards } from "./shards.ts";
import { parseWeightMap } from "./weight-map.ts";

/** An open model folder. Close it when its tensors were read. */
export interface Checkpoint extends TensorReader {
  /** The folder that it was opened by. */
  readonly folder: string;
  /** `config.json`. */
  readonly config: JsonDocument;
  /** `generation_config.json`, where the folder has one. */
  readonly generationConfig: JsonDocument | undefined;
  /** The metadata of the weights: of `model.safetensors`, or of the first shard. */
  readonly metadata: SafetensorsMetadata | undefined;
  /** Closes the files; reads fail from then on. Closing twice does nothing. */
  close(): Promise<void>;
}

/**
 * Opens a model folder in Hugging Face's layout: `config.json`, `generation_config.json` if there,
 * and the weights in `model.safetensors` or in the shards that `model.safetensors.index.json` names.
 * Headers are read and checked; tensors are read when asked for.
 *
 * Throws `ConfigError` for a folder or file that is not there or cannot be read, and `FormatError`
 * for a damaged one or an index that its shards contradict.
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  await requireFolder(folder);
  const config = await readDocument(join(folder, "config.json"));
  const generationPath = join(folder, "generation_config.json");
  const generationConfig = (await exists(generationPath))
    ? await readDocument(generationPath)
    : undefined;
  const weights = await openWeights(folder);
  return { folder, config, generationConfig, ...weights };
}

type Weights = Omit<Checkpoint, "folder" | "config" | "generationConfig">;

async function openWeights(folder: string): Promise<Weights> {
  const single = join(folder, "model.safetensors");
  if (await exists(single)) {
    const [shard] = await openShards([single]);
    if (shard !== undefined) {
      const { source, file } = shard;
      return { ...file, close: () => source.close() };
    }
  }
  const index = join(folder, "model.safetensors.index.json");
  if (!(await exists(index))) {
    throw new ConfigError(
      `${folder} holds no weights: neither model.safetensors nor model.safetensors.index.json; ` +
        "other formats are not read, convert them to safetensors",
      "folder",
      folder,
    );
  }
  const weightMap = parseWeightMap(await readSmallFile(index), index);
  const files = [...new Set([...weightMap.values()].map(({ file }) => file))].toSorted();
  const shards = await openShards(files.map((file) => join(folder, file)));
  const close = async (): Promise<void> => {
    await Promise.all(shards.map(({ source }) => source.close()));
  };
  try {
    const { infos, sources } = matchShards(weightMap, index, files, shards);
    const reader = tensorReader(infos, (name) => {
      const source = sources.get(name);
      if (source !== undefined) return source;
      throw new ConfigError(`there is no tensor "${name}"`, "tensor", name);
    });
    return { ...reader, metadata: shards[0]?.file.metadata, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens files one after another; if one fails, all are closed again. */
async function openShards(paths: readonly string[]): Promise<OpenShard<FileSource>[]> {
  const shards: OpenShard<FileSource>[] = [];
  const sources: FileSource[] = [];
  try {
    for (const path of paths) {
      const source = await fileSource(path);
      sources.push(source);
      shards.push({ source, file: await openSafetensors(source) });
    }
    return shards;
  } catch (error) {
    await Promise.all(sources.map((source) => source.close()));
    throw error;
  }
}

async function readDocument(path: string): Promise<JsonDocument> {
  return parseJsonDocument(await readSmallFile(path), path);
}

async function requireFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return;
  } catch (error) {
    const fault = { action: "open the checkpoint", path: folder, key: "folder" } as const;
    throw pathError(error, { ...fault, advice: "check the path" });
  }
  throw new ConfigError(
    `cannot open the checkpoint ${folder}: it is not a folder; give the folder with config.json`,
    "folder",
    folder,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw pathError(error, { action: "read", path, key: "path", advice: "check the path" });
  }
}
