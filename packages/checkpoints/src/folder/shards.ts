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
  const holders = new Map<string, string>();
  shards.forEach(({ source, file }, position) => {
    const holder = files[position] ?? "";
    for (const info of file.tensors.values()) {
      const { name } = info;
      const other = holders.get(name);
      const listed = weightMap.get(name);
      if (other !== undefined) {
        fail(`tensor "${name}" stands both in ${other} and in ${holder}`, listed?.offset ?? 0);
      }
      if (listed === undefined) fail(`does not list tensor "${name}", which ${holder} holds`, 0);
      holders.set(name, holder);
      sources.set(name, source);
      infos.push(info);
    }
  });
  for (const [name, { file, offset }] of weightMap) {
    const holder = holders.get(name);
    if (holder === undefined) fail(`lists tensor "${name}" in ${file}, which lacks it`, offset);
    if (holder !== file) fail(`lists tensor "${name}" in ${file}, but ${holder} holds it`, offset);
  }
  return { infos, sources };
}
