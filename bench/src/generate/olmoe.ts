import type { GgufTensor, GgufType, GgufValue } from "./gguf.ts";
import { encoded } from "./blocks.ts";
import type { ExpertStorage, Storage } from "./formats.ts";
import { type RandomMatrix, type WholeGrid, numberPool, seedOf } from "./random-matrix.ts";

/** What the matrices outside the experts are held in: what the experts are, or floats. */
export const restFormats = ["same", "f32", "f16"] as const;
/** One of {@link restFormats}. */
export type RestFormat = (typeof restFormats)[number];

/** The shapes of OLMoE-1B-7B's layers (arXiv 2409.02060), as its `config.json` has them. */
export const OLMOE = {
  hidden_size: 2048,
  intermediate_size: 1024,
  max_position_embeddings: 4096,
  model_type: "olmoe",
  norm_topk_prob: false,
  num_attention_heads: 16,
  num_experts: 64,
  num_experts_per_tok: 8,
  num_key_value_heads: 16,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
  vocab_size: 50304,
};

/** What matrices are made of, so that the format holds them exactly; a router is always of 8 bits. */
const GRIDS: Readonly<Record<ExpertStorage, WholeGrid>> = {
  f32: { largest: 127 },
  q8: { largest: 127 },
  q4: { largest: 7 },
};

/** How norms' weights stray from 1, so that no two of them can be taken for each other. */
const NORM_STRAY = 0.125;

/** A model's sizes, under the names of OLMoE-1B-7B's `config.json`. */
export type OlmoeConfig = Readonly<typeof OLMOE> & { readonly num_hidden_layers: number };

/**
 * A model with these shapes and random weights, as functions of their places: all that hold it compute
 * with the same numbers, whatever they store them in.
 */
export interface HostModel {
  readonly config: OlmoeConfig;
  readonly experts: ExpertStorage;
  /** What the other matrices are stored in; norms and routers are float32. */
  readonly rest: Storage;
  /** A leaf by its path in the parameters of `@moiety/models`. */
  leaf(path: string, shape: readonly number[]): RandomMatrix;
}

/** Draws a model, whose sizes may differ from OLMoE-1B-7B's. */
export function hostModel(
  experts: ExpertStorage,
  rest: RestFormat,
  sizes: Partial<OlmoeConfig> & { readonly num_hidden_layers: number },
): HostModel {
  const [pool, eightBits] = [numberPool(GRIDS[experts]), numberPool(GRIDS.q8)];
  return {
    config: { ...OLMOE, ...sizes },
    experts,
    rest: rest === "same" ? experts : rest,
    leaf(path, shape) {
      const matrix = (path.includes(".router.") ? eightBits : pool).matrix(seedOf(path), shape);
      if (shape.length > 1) return matrix;
      return {
        shape,
        step: NORM_STRAY,
        values: (start, count) =>
          matrix.values(start, count).map((value) => 1 + NORM_STRAY * Math.sign(value)),
      };
    },
  };
}

/**
 * Metadata of the model's GGUF file, for llama.cpp's architecture `olmoe`. Its tokens are texts that
 * nobody reads: without any, llama.cpp's bindings end.
 */
export function olmoeMetadata({ config }: HostModel): Record<string, GgufValue> {
  return {
    "general.architecture": { text: "olmoe" },
    "general.name": { text: "random weights in OLMoE's shapes" },
    "olmoe.attention.head_count": { u32: config.num_attention_heads },
    "olmoe.attention.head_count_kv": { u32: config.num_key_value_heads },
    "olmoe.attention.layer_norm_rms_epsilon": { f32: config.rms_norm_eps },
    "olmoe.block_count": { u32: config.num_hidden_layers },
    "olmoe.context_length": { u32: config.max_position_embeddings },
    "olmoe.embedding_length": { u32: config.hidden_size },
    "olmoe.expert_count": { u32: config.num_experts },
    "olmoe.expert_used_count": { u32: config.num_experts_per_tok },
    "olmoe.feed_forward_length": { u32: config.intermediate_size },
    "olmoe.rope.freq_base": { f32: config.rope_theta },
    "olmoe.vocab_size": { u32: config.vocab_size },
    "tokenizer.ggml.merges": { texts: ["t 0"] },
    "tokenizer.ggml.model": { text: "gpt2" },
    "tokenizer.ggml.pre": { text: "olmo" },
    "tokenizer.ggml.tokens": {
      texts: Array.from({ length: config.vocab_size }, (_, token) => `t${token}`),
    },
  };
}

/** What the matrices of a GGUF file are stored in; norms and routers are float32. */
export interface GgufStorage {
  readonly experts: GgufType;
  /** Embedding, attention and head. */
  readonly rest: GgufType;
}

/** The model's tensors under the names of llama.cpp. */
export function olmoeTensors(model: HostModel, { experts, rest }: GgufStorage): GgufTensor[] {
  const { config } = model;
  const { hidden_size: hidden, intermediate_size: inner, num_experts: count } = config;
  const table = [config.vocab_size, hidden];
  const tensor = (name: string, type: GgufType, path: string, shape: number[]): GgufTensor =>
    tensorOf(name, type, model.leaf(path, shape), { shape });
  const norm = (name: string, path: string): GgufTensor => tensor(name, "F32", path, [hidden]);
  const square = [hidden, hidden];
  const inLayer = (layer: number): GgufTensor[] => {
    const [to, from] = [`blk.${layer}`, `layers.${layer}`];
    const gateUp = model.leaf(`${from}.moe.experts.gateUp`, [count, 2 * inner, hidden]);
    // One of ours holds both: each expert's rows of gate, then its rows of up.
    const half = (name: string, which: 0 | 1): GgufTensor =>
      tensorOf(`${to}.${name}.weight`, experts, gateUp, {
        shape: [count, inner, hidden],
        first: which * inner * hidden,
        apart: 2 * inner * hidden,
      });
    return [
      norm(`${to}.attn_norm.weight`, `${from}.attentionNorm`),
      tensor(`${to}.attn_q.weight`, rest, `${from}.attention.query`, square),
      tensor(`${to}.attn_k.weight`, rest, `${from}.attention.key`, square),
      tensor(`${to}.attn_v.weight`, rest, `${from}.attention.value`, square),
      tensor(`${to}.attn_output.weight`, rest, `${from}.attention.output`, square),
      norm(`${to}.attn_q_norm.weight`, `${from}.attention.queryNorm`),
      norm(`${to}.attn_k_norm.weight`, `${from}.attention.keyNorm`),
      norm(`${to}.ffn_norm.weight`, `${from}.ffnNorm`),
      tensor(`${to}.ffn_gate_inp.weight`, "F32", `${from}.moe.router.weight`, [count, hidden]),
      half("ffn_gate_exps", 0),
      half("ffn_up_exps", 1),
      tensor(`${to}.ffn_down_exps.weight`, experts, `${from}.moe.experts.down`, [
        count,
        hidden,
        inner,
      ]),
    ];
  };
  return [
    tensor("token_embd.weight", rest, "embedding", table),
    norm("output_norm.weight", "norm"),
    tensor("output.weight", rest, "head", table),
    ...Array.from({ length: config.num_hidden_layers }, (_, layer) => inLayer(layer)).flat(),
  ];
}

/** Where the values of a tensor stand in a matrix: parts of equal size, so far apart. */
interface Parts {
  readonly shape: readonly number[];
  readonly first?: number | undefined;
  readonly apart?: number | undefined;
}

/** Values that are on their way at a time: whole blocks. */
const PIECE = 2 ** 20;

function tensorOf(
  name: string,
  type: GgufType,
  matrix: RandomMatrix,
  { shape, first = 0, apart }: Parts,
): GgufTensor {
  const size = shape.reduce((product, length) => product * length, 1);
  const part = apart === undefined ? size : size / (shape[0] ?? 1);
  return {
    name,
    shape,
    type,
    *pieces() {
      for (let start = 0; start < size; start += part) {
        const from = first + (start / part) * (apart ?? 0);
        for (let at = 0; at < part; at += PIECE) {
          yield encoded(matrix.values(from + at, Math.min(PIECE, part - at)), type);
        }
      }
    },
  };
}
