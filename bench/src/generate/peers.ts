import { join } from "node:path";
import { report } from "../options.ts";
import { type GgufType, writeGguf } from "./gguf.ts";
import { llamaModel } from "./llama.ts";
import {
  type ExpertFormat,
  type GgufStorage,
  type HostModel,
  OLMOE,
  type RestFormat,
  hostModel,
  olmoeMetadata,
  olmoeTensors,
} from "./olmoe.ts";
import type { Continuer } from "./ours.ts";

/** More steps than a race takes: runs that are not timed are among them. */
export const MAX_NEW_TOKENS = 2048;
/**
 * In float32 one layer's experts take 1.6 GB, and their packed copies as much: with one layer and fewer
 * tokens the model fits into the 4 GiB of a WebAssembly memory.
 */
const FLOAT_LIMITS = { layers: 1, vocabulary: 8192 } as const;
/** What llama.cpp calls the formats. */
const GGUF_TYPES: Readonly<Record<ExpertFormat | RestFormat, GgufType>> = {
  f32: "F32",
  f16: "F16",
  q8: "Q8_0",
  q4: "Q4_0",
};

/** The model that is measured in a format. */
export function hostFor(format: ExpertFormat, rest: RestFormat, layers: number): HostModel {
  if (format !== "f32") {
    return hostModel(format, rest, {
      num_hidden_layers: layers,
      vocab_size: OLMOE.vocab_size,
    });
  }
  return hostModel(format, "f32", {
    num_hidden_layers: Math.min(layers, FLOAT_LIMITS.layers),
    vocab_size: FLOAT_LIMITS.vocabulary,
  });
}

/** As ours; and where experts are in blocks, as files for llama.cpp mostly are: with all in blocks. */
export function storagesFor({ format, rest }: HostModel): GgufStorage[] {
  const experts = GGUF_TYPES[format];
  const same = { experts, rest: GGUF_TYPES[rest] };
  return format === "f32" ? [same] : [same, { experts, rest: experts }];
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
  storage: GgufStorage,
  { folder, threads, longest }: PeerPlace,
): Promise<Continuer> {
  const file = join(folder, `${storage.experts}-${storage.rest}.gguf`);
  report(`${storage.experts} and ${storage.rest} for llama.cpp …`);
  writeGguf(file, { metadata: olmoeMetadata(host), tensors: olmoeTensors(host, storage) });
  return llamaModel({
    file,
    storage: `${storage.experts} experts, ${storage.rest} rest`,
    threads,
    contextSize: longest + MAX_NEW_TOKENS,
    batchSize: longest,
    wideAttention: host.format === "f32",
  });
}

/** A model in words. */
export function textOf({ config, format, rest }: HostModel): string {
  const layers = `${config.num_hidden_layers} ${config.num_hidden_layers === 1 ? "layer" : "layers"}`;
  return `${format}, rest ${rest}, ${layers}, V ${config.vocab_size}`;
}
