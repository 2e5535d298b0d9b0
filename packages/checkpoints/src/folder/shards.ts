import { FormatError } from "@moiety/core";
import type { TensorInfo } from "../safetensors/info.ts";
import type { SafetensorsFile } from "../safetensors/read.ts";
import type { ByteSource } from "../source.ts";
import type { ShardName } from "./weight-map.ts";

/** An open shard: its bytes and its checked header. */
export interface OpenShard<Source extends ByteSource = ByteSource> {
  /** The bytes. */
  readonly source: Source;
  /** What the header says. */
  readonly file: SafetensorsFile;
}

/** The tensors of all shards, and which shard holds each. */
export interface ShardedTensors {
  /** What the headers say, shard after shard. */
  readonly infos: readonly TensorInfo[];
  /** The shard of each tensor. */
  readonly sources: ReadonlyMap<string, ByteSource>;
}

/**
 * Holds the index against the headers of its shards.
 *
 * Throws {@link FormatError} for a tensor in two shards, one that stands in another shard than the
 * index says or in none, and one that the index does not list.
 */
export function matchShards(
  weightMap: ReadonlyMap<string, ShardName>,
  index: string,
  files: readonly string[],
  shards: readonly OpenShard[],
): ShardedTensors {
  const fail = (what: string, offset: number): never => {
    throw new FormatError(
      `${index}: ${what}; index and shards do not belong together, get the folder again`,
      offset,
    );
  };
  const infos: TensorInfo[] = [];
  const sources = new Map<string, ByteSource>();
  const fileOf = new Map(shards.map(({ source }, position) => [source, files[position] ?? ""]));
  for (const { source, file } of shards) {
    for (const info of file.tensors.values()) {
      const { name } = info;
      const other = sources.get(name);
      const listed = weightMap.get(name);
      if (other !== undefined) {
        const both = `both in ${fileOf.get(other)} and in ${fileOf.get(source)}`;
        fail(`tensor "${name}" stands ${both}`, listed?.offset ?? 0);
      }
      if (listed === undefined) {
        fail(`does not list tensor "${name}", which ${fileOf.get(source)} holds`, 0);
      }
      sources.set(name, source);
      infos.push(info);
    }
  }
  for (const [name, { file, offset }] of weightMap) {
    const source = sources.get(name);
    if (source === undefined)
      return fail(`lists tensor "${name}" in ${file}, which lacks it`, offset);
    const holder = fileOf.get(source);
    if (holder !== file) fail(`lists tensor "${name}" in ${file}, but ${holder} holds it`, offset);
  }
  return { infos, sources };
}
