import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type JsonObject,
  type TensorShape,
  formatJsonDocument,
  layoutSafetensors,
} from "@moiety/checkpoints";
import { bindModel, modelFromConfig } from "@moiety/models";

const BF16_BYTES = 2;

/** What was written. */
export interface SparseModel {
  readonly tensors: number;
  /** Bytes that the files claim; the disk holds their headers alone. */
  readonly bytes: number;
}

/**
 * Writes a folder with the true headers of a model and nothing behind them: its files are holes.
 * @param shardBytes about how long a shard gets
 */
export async function writeSparseModel(
  folder: string,
  values: JsonObject,
  shardBytes: number,
): Promise<SparseModel> {
  const configured = modelFromConfig(values);
  const entries = bindModel(configured).flatMap(({ parts }) =>
    parts.map(({ name, shape }): TensorShape => ({ name, dtype: "BF16", shape })),
  );
  const shards: TensorShape[][] = [];
  let room = 0;
  for (const entry of entries) {
    if (room <= 0) {
      shards.push([]);
      room = shardBytes;
    }
    shards.at(-1)?.push(entry);
    room -= BF16_BYTES * entry.shape.reduce((product, size) => product * size, 1);
  }
  const weightMap: Record<string, string> = {};
  let bytes = 0;
  for (const [index, shard] of shards.entries()) {
    const name = `model-${index + 1}-of-${shards.length}.safetensors`;
    const { header, size } = layoutSafetensors(shard);
    // oxlint-disable-next-line no-await-in-loop -- one file after another
    await writeHoles(join(folder, name), header, size);
    for (const entry of shard) weightMap[entry.name] = name;
    bytes += size;
  }
  const index = { metadata: { total_size: bytes }, weight_map: weightMap };
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  await writeFile(join(folder, "config.json"), formatJsonDocument(configured.config.document));
  return { tensors: entries.length, bytes };
}

async function writeHoles(path: string, header: Uint8Array, size: number): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.write(header);
    await file.truncate(size);
  } finally {
    await file.close();
  }
}
