import { FormatError } from "@moiety/core";
import { nounOf } from "../json/document.ts";
import type { JsonNode } from "../json/node.ts";
import { parseJson } from "../json/parse.ts";

/** Which shard the index names for a tensor, and where the index says so. */
export interface ShardName {
  /** File name of the shard, in the folder of the index. */
  readonly file: string;
  /** Byte offset of the entry in the index. */
  readonly offset: number;
}

/**
 * Reads `model.safetensors.index.json`: the shard of every tensor, by name.
 *
 * Throws {@link FormatError} for an index without a `weight_map` of names to file names, and for a
 * file name that leads out of the folder.
 */
export function parseWeightMap(bytes: Uint8Array, name: string): Map<string, ShardName> {
  const root = parseJson(bytes, { name, nonFinite: true });
  const map =
    root.kind === "object"
      ? root.entries.find(({ key }) => key === "weight_map")?.value
      : undefined;
  if (map?.kind !== "object") {
    const found = map === undefined ? "has no weight_map" : `its weight_map is ${nounOf(map)}`;
    throw new FormatError(
      `${name}: ${found}; an index of shards maps tensor names to files there`,
      map?.offset ?? root.offset,
    );
  }
  return new Map(
    map.entries.map(({ key, offset, value }) => [
      key,
      { file: fileNameOf(value, key, name), offset },
    ]),
  );
}

function fileNameOf(node: JsonNode, tensor: string, name: string): string {
  const file = node.kind === "string" ? node.value : "";
  if (/^[^/\\:\0]+$/.test(file) && file !== "." && file !== "..") return file;
  const found = node.kind === "string" ? JSON.stringify(file) : nounOf(node);
  throw new FormatError(
    `${name}: weight_map gives ${found} for "${tensor}", not the name of a file in this folder`,
    node.offset,
  );
}
