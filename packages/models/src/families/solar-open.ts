import type { Family } from "../family.ts";
import { grouped } from "./attention.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";

/** Solar Open (Upstage, 2026): Llama's attention around DeepSeek-V3's experts. */
export const solarOpen: Family = {
  modelType: "solar_open",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    eos_token_id: null,
    head_dim: 128,
    hidden_size: 4096,
    max_position_embeddings: 131072,
    moe_intermediate_size: 1280,
    n_group: 1,
    n_routed_experts: 128,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_attention_heads: 64,
    num_experts_per_tok: 8,
    num_hidden_layers: 48,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    rope_theta: 1000000,
    routed_scaling_factor: 1,
    topk_group: 1,
    vocab_size: 196608,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
  decoder: {
    ...llamaDecoder,
    architecture: "SolarOpenForCausalLM",
    attention: (config) =>
      grouped(config, {
        headNorm: "none",
        qkvBias: config.flag("attention_bias"),
        outputBias: false,
      }),
    floats: [...llamaDecoder.floats, "routed_scaling_factor"],
  },
};
