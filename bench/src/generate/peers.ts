import { join } from "node:path";
import { report } from "../options.ts";
import { type GgufType, writeGguf } from "./gguf.ts";
import { llamaModel } from "./llama.ts";
import { type ExpertStorage, type Format, type Storage } from "./formats.ts";
import {
  type GgufStorage,
  type HostModel,
  type RestFormat,
  OLMOE,
  hostModel,
  olmoeMetadata,
  olmoeTensors,
} from "./olmoe.ts";
import type { Continuer } from "./ours.ts";

/** More steps than a race takes: runs that are not timed are among them. */
export const MAX_NEW_TOKENS = 2048;
/**
 * In float32 one layer's experts take 1.6 GB, and their packed copies as much: with fewer experts and
 * tokens two layers fit into the 4 GiB of a WebAssembly memory.
 */
const FLOAT_LIMITS = { layers: 2, experts: 24, vocabulary: 8192 } as const;
/** What llama.cpp calls the formats. */
const GGUF_TYPES: Readonly<Record<Storage, GgufType>> = {
  f32: "F32",
  f16: "F16",
  q8: "Q8_0",
  q4: "Q4_0",
};

/** The model that is measured where weights are stored so. */
export function hostFor(experts: ExpertStorage, rest: RestFormat, layers: number): HostModel {
  if (experts !== "f32") return hostModel(experts, rest, { num_hidden_layers: layers });
  return hostModel(experts, "same", {
    num_hidden_layers: Math.min(layers, FLOAT_LIMITS.layers),
    num_experts: FLOAT_LIMITS.experts,
    vocab_size: FLOAT_LIMITS.vocabulary,
  });
}

/** What the peer's file stores: what ours does. */
export function ggufStorage({ experts, rest }: HostModel): GgufStorage {
  return { experts: GGUF_TYPES[experts], rest: GGUF_TYPES[rest] };
}

/** Where a peer's file goes, and what it has to hold. */
export interface PeerPlace {
  readonly folder: string;
  readonly threads: number;
  /** Tokens of the longest prompt. */
  readonly longest: number;
}

/** Writes the model's GGUF file, and opens it. */
export async function peerFor(
  host: HostModel,
  { folder, threads, longest }: PeerPlace,
): Promise<Continuer> {
  const storage = ggufStorage(host);
  const file = join(folder, `${storage.experts}-${storage.rest}.gguf`);
  report(`${storageText(storage)} for llama.cpp …`);
  writeGguf(file, { metadata: olmoeMetadata(host), tensors: olmoeTensors(host, storage) });
  return llamaModel({
    file,
    storage: storageText(storage),
    threads,
    contextSize: longest + MAX_NEW_TOKENS,
    batchSize: longest,
    wideAttention: host.experts === "f32",
  });
}

function storageText({ experts, rest }: GgufStorage): string {
  return experts === rest ? experts : `${experts} experts, ${rest} rest`;
}

/** A model in words. */
export function textOf({ config, experts, rest }: HostModel, format: Format): string {
  const layers = `${config.num_hidden_layers} ${config.num_hidden_layers === 1 ? "layer" : "layers"}`;
  const other = rest === experts ? "" : `rest ${rest}, `;
  const { num_experts: count } = config;
  const fewer = count === OLMOE.num_experts ? "" : `E ${count}, `;
  return `${format}, ${other}${layers}, ${fewer}V ${config.vocab_size}`;
}
