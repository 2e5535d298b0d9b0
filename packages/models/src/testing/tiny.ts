import {
  type JsonObject,
  bytesSource,
  encodeSafetensors,
  openSafetensors,
} from "@moiety/checkpoints";
import type { Backend, Tensor } from "@moiety/core";
import type { ModelSource, ReadyModel } from "../load.ts";
import { type ModelContent, saveModel } from "../save.ts";

const sizes: JsonObject = {
  hidden_size: 8,
  intermediate_size: 6,
  max_position_embeddings: 32,
  num_attention_heads: 4,
  num_experts: 4,
  num_experts_per_tok: 2,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  vocab_size: 13,
  // Larger than usual, so that no gradient drowns in rounding.
  initializer_range: 0.3,
};

/** Configurations of small models; between them they use every part of a decoder. */
export const tinyConfigs: Readonly<Record<string, JsonObject>> = {
  olmoe: {
    ...sizes,
    model_type: "olmoe",
    attention_bias: true,
    clip_qkv: 1.5,
    tie_word_embeddings: true,
  },
  qwen2_moe: {
    ...sizes,
    model_type: "qwen2_moe",
    mlp_only_layers: [0],
    moe_intermediate_size: 5,
    shared_expert_intermediate_size: 7,
  },
  qwen3_moe: {
    ...sizes,
    model_type: "qwen3_moe",
    head_dim: 6,
    moe_intermediate_size: 5,
    norm_topk_prob: true,
    num_key_value_heads: 4,
  },
  deepseek_v3: {
    ...sizes,
    model_type: "deepseek_v3",
    attention_bias: true,
    first_k_dense_replace: 1,
    kv_lora_rank: 5,
    moe_intermediate_size: 5,
    n_group: 2,
    n_routed_experts: 4,
    num_key_value_heads: 4,
    q_lora_rank: 7,
    qk_nope_head_dim: 3,
    qk_rope_head_dim: 4,
    rope_scaling: {
      rope_type: "yarn",
      factor: 4,
      mscale: 1,
      mscale_all_dim: 0.7,
      original_max_position_embeddings: 8,
    },
    topk_group: 1,
    v_head_dim: 2,
  },
  flex_olmo: {
    ...sizes,
    model_type: "flex_olmo",
    attention_bias: true,
    // Norms of small outputs bend too much for differences otherwise.
    rms_norm_eps: 0.1,
  },
  gpt_oss: {
    ...sizes,
    model_type: "gpt_oss",
    head_dim: 6,
    num_local_experts: 4,
    rope_scaling: {
      rope_type: "yarn",
      beta_fast: 4,
      factor: 4,
      original_max_position_embeddings: 8,
      truncate: false,
    },
    rope_theta: 100,
    sliding_window: 3,
  },
  phimoe: {
    ...sizes,
    model_type: "phimoe",
    attention_bias: true,
    lm_head_bias: true,
    num_local_experts: 4,
    rope_scaling: {
      rope_type: "longrope",
      long_factor: [2],
      long_mscale: 1.5,
      original_max_position_embeddings: 16,
      short_factor: [1.25],
      short_mscale: 1.1,
    },
    router_jitter_noise: 0.01,
  },
};

/** Families between whose models every kind of attention and norm is found. */
export const tinyFamilies: readonly string[] = Object.keys(tinyConfigs);

/** Token ids `[batch, tokens]` that look random and are always the same. */
export function tokens(backend: Backend, batch: number, count: number, vocabulary = 13): Tensor {
  const data = Int32Array.from(
    { length: batch * count },
    (_, index) => (index * 5 + Math.floor(index / 3) * 7 + 2) % vocabulary,
  );
  return backend.tensor(data, { shape: [batch, count] });
}

/** Saves a model into memory; gives what was saved, a source to load it from, and the warnings. */
export async function saveToMemory(
  ready: ReadyModel,
): Promise<{ content: ModelContent; source: ModelSource; warnings: string[] }> {
  let saved: { content: ModelContent; source: ModelSource } | undefined;
  const warnings = await saveModel(async (content) => {
    const bytes = await encodeSafetensors(content.tensors, content.metadata);
    const file = await openSafetensors(bytesSource(bytes));
    const { config, generationConfig } = content;
    saved = { content, source: { ...file, config, generationConfig } };
  }, ready);
  if (saved === undefined) throw new Error("nothing was saved");
  return { ...saved, warnings };
}
