import type { Family } from "../family.ts";
import { biases, grouped } from "./attention.ts";
import { gatedFfn, llamaDecoder } from "./llama.ts";
import { qwenBlock, qwenDefaults, qwenRouter, sparseByStep } from "./qwen.ts";

/** Qwen3-MoE (arXiv 2505.09388): queries and keys normalised over each head. */
export const qwen3Moe: Family = {
  modelType: "qwen3_moe",
  defaults: {
    ...qwenDefaults,
    attention_bias: false,
    head_dim: null,
    intermediate_size: 6144,
    moe_intermediate_size: 768,
    num_attention_heads: 32,
    num_experts: 128,
    num_experts_per_tok: 8,
    num_key_value_heads: 4,
  },
  block: {
    ...qwenBlock,
    moe: (config) => ({
      router: qwenRouter(config),
      expert: gatedFfn(config, config.count("moe_intermediate_size")),
    }),
  },
  decoder: {
    ...llamaDecoder,
    architecture: "Qwen3MoeForCausalLM",
    sparse: sparseByStep,
    attention: (config) => grouped(config, { headNorm: "head", ...biases(config) }),
    spelledOut: (config) => ({ head_dim: config.headDim() }),
  },
};
