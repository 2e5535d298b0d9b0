import { ConfigError, sizeOf } from "@moiety/core";
import { jsonDocument } from "../json/document.ts";
import { formatJsonDocument } from "../json/format.ts";
import { safetensorsBytes } from "../safetensors/dtype.ts";
import type { TensorShape } from "../safetensors/layout.ts";

/** The index of a folder whose weights are in shards. */
export const INDEX = "model.safetensors.index.json";
/** The weights of a folder without shards. */
export const SINGLE = "model.safetensors";

/** One file of weights. */
export interface Shard<Entry extends TensorShape> {
  readonly file: string;
  readonly entries: readonly Entry[];
}

/**
 * Spreads tensors over files as `split_torch_state_dict_into_shards` of huggingface_hub does: in their
 * order, a new file where the next one would make it larger than `maxBytes`; a larger tensor gets a file
 * of its own. One file is called `model.safetensors`.
 *
 * Throws `ConfigError` for a limit that is no number of bytes.
 */
export function splitShards<Entry extends TensorShape>(
  entries: Iterable<Entry>,
  maxBytes: number,
): Shard<Entry>[] {
  if (!(maxBytes > 0)) {
    throw new ConfigError(
      `maxShardBytes is ${maxBytes}, but must be a number of bytes above 0`,
      "maxShardBytes",
      maxBytes,
    );
  }
  const lists: Entry[][] = [];
  let current: Entry[] = [];
  let bytes = 0;
  const close = (): void => {
    if (current.length > 0) lists.push(current);
    current = [];
    bytes = 0;
  };
  for (const entry of entries) {
    const size = bytesOf(entry);
    if (size > maxBytes) {
      lists.push([entry]);
      continue;
    }
    if (bytes + size > maxBytes) close();
    current.push(entry);
    bytes += size;
  }
  close();
  if (lists.length <= 1) return [{ file: SINGLE, entries: lists[0] ?? [] }];
  return lists.map((list, index) => ({ file: shardName(index, lists.length), entries: list }));
}

/** The text of the index: as huggingface_hub and transformers write it. */
export function indexText(
  shards: readonly Shard<TensorShape>[],
  totalParameters: number | undefined,
): string {
  const all = shards.flatMap(({ file, entries }) => entries.map((entry) => ({ file, entry })));
  const size = all.reduce((sum, { entry }) => sum + bytesOf(entry), 0);
  const map = Object.fromEntries(all.map(({ file, entry }) => [entry.name, file]));
  return formatJsonDocument(
    jsonDocument({
      metadata: {
        total_size: size,
        ...(totalParameters !== undefined && { total_parameters: totalParameters }),
      },
      weight_map: map,
    }),
  );
}

/** Whether a file of a folder is one that a save of weights may have made. */
export function isWeights(file: string): boolean {
  return (
    file === INDEX || /^model(?:-\d{5}-of-\d{5})?(?:\.old-[0-9a-f-]+)?\.safetensors$/.test(file)
  );
}

function shardName(index: number, count: number): string {
  const digits = (value: number): string => String(value).padStart(5, "0");
  return `model-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}

function bytesOf({ shape, dtype }: TensorShape): number {
  return sizeOf(shape) * safetensorsBytes(dtype);
}
