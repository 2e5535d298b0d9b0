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
};

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
