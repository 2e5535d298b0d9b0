import type { Family } from "../family.ts";
import { biases, grouped } from "./attention.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";
import { qwenBlock, qwenRouter } from "./qwen.ts";

/** OLMoE (arXiv 2409.02060): queries and keys normalised over whole projections. */
export const olmoe: Family = {
  modelType: "olmoe",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    clip_qkv: null,
    eos_token_id: 50279,
    hidden_size: 2048,
    intermediate_size: 2048,
    max_position_embeddings: 4096,
    norm_topk_prob: false,
    num_attention_heads: 16,
    num_experts: 64,
    num_experts_per_tok: 8,
    num_hidden_layers: 16,
    num_key_value_heads: null,
    pad_token_id: 1,
    rms_norm_eps: 1e-5,
    router_aux_loss_coef: 0.01,
    vocab_size: 50304,
  },
  block: {
    ...qwenBlock,
    moe: (config) => ({
      router: qwenRouter(config),
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
  },
  decoder: {
    ...llamaDecoder,
    architecture: "OlmoeForCausalLM",
    attention: (config) =>
      grouped(config, {
        headNorm: "projection",
        ...biases(config),
        clip: config.numberIfAny("clip_qkv"),
      }),
    spelledOut: (config) => ({ num_key_value_heads: config.keyValueHeads() }),
  },
};
