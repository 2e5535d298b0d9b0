import { ConfigError } from "@moiety/core";
import { type JsonDocument, parseJsonDocument } from "../json/document.ts";
import type { SafetensorsMetadata, TensorReader } from "../safetensors/info.ts";
import { openSafetensors, tensorReader } from "../safetensors/read.ts";
import { type FileFolder, type OpenFile, openFile, readWhole } from "./folder.ts";
import { type OpenShard, matchShards } from "./shards.ts";
import { INDEX, SINGLE } from "./split-shards.ts";
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
 * Opens a model folder in Hugging Face's layout, wherever it lies: `config.json`,
 * `generation_config.json` if there, and the weights in `model.safetensors` or in the shards that
 * `model.safetensors.index.json` names. Headers are read and checked; tensors are read when asked for.
 *
 * Throws `ConfigError` for a file that is not there or cannot be read, and `FormatError` for a
 * damaged one or an index that its shards contradict.
 *
 * @example
 * const checkpoint = await openFolder(httpFolder("https://models.example/olmoe/"));
 */
export async function openFolder(folder: FileFolder): Promise<Checkpoint> {
  const config = await readDocument(await openFile(folder, "config.json"));
  const generation = await folder.open("generation_config.json");
  const generationConfig = generation && (await readDocument(generation));
  return { folder: folder.name, config, generationConfig, ...(await openWeights(folder)) };
}

type Weights = Omit<Checkpoint, "folder" | "config" | "generationConfig">;

async function openWeights(folder: FileFolder): Promise<Weights> {
  const single = await folder.open(SINGLE);
  if (single !== undefined) {
    try {
      return { ...(await openSafetensors(single)), close: () => single.close() };
    } catch (error) {
      await single.close();
      throw error;
    }
  }
  const index = await folder.open(INDEX);
  if (index === undefined) {
    throw new ConfigError(
      `${folder.name} holds no weights: neither ${SINGLE} nor ${INDEX}; ` +
        "other formats are not read, convert them to safetensors",
      "folder",
      folder.name,
    );
  }
  return openShards(folder, await readWhole(index), index.name);
}

async function openShards(folder: FileFolder, bytes: Uint8Array, index: string): Promise<Weights> {
  const weightMap = parseWeightMap(bytes, index);
  const files = [...new Set([...weightMap.values()].map(({ file }) => file))].toSorted();
  const shards = await readHeaders(await openFiles(folder, files));
  const close = (): Promise<void> => closeAll(shards.map(({ source }) => source));
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

/** Opens files at once; if one fails, all are closed again. */
async function openFiles(folder: FileFolder, files: readonly string[]): Promise<OpenFile[]> {
  const opened = await Promise.allSettled(files.map((file) => openFile(folder, file)));
  return allOrNone(
    opened,
    opened.flatMap((result) => (result.status === "fulfilled" ? result.value : [])),
  );
}

/** Reads the headers of files at once; if one fails, all files are closed. */
async function readHeaders(sources: readonly OpenFile[]): Promise<OpenShard<OpenFile>[]> {
  const read = await Promise.allSettled(
    sources.map(async (source) => ({ source, file: await openSafetensors(source) })),
  );
  return allOrNone(read, sources);
}

/** What was fulfilled. Where something was rejected, closes files and throws the first reason. */
async function allOrNone<Value>(
  results: readonly PromiseSettledResult<Value>[],
  files: readonly OpenFile[],
): Promise<Value[]> {
  const values: Value[] = [];
  for (const result of results) {
    if (result.status === "fulfilled") values.push(result.value);
    else {
      await closeAll(files);
      throw result.reason;
    }
  }
  return values;
}

async function closeAll(files: readonly OpenFile[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}

async function readDocument(file: OpenFile): Promise<JsonDocument> {
  return parseJsonDocument(await readWhole(file), file.name);
}
