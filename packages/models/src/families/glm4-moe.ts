import type { JsonObject } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe, groupFill } from "./deepseek.ts";
import { pooledBalance } from "./experts.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";

const defaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 4096,
  initializer_range: 0.02,
  moe_intermediate_size: 1408,
  n_group: 1,
  n_routed_experts: 128,
  n_shared_experts: 1,
  norm_topk_prob: true,
  num_experts_per_tok: 8,
  routed_scaling_factor: 1,
  topk_group: 1,
};

/** GLM-4.5 (arXiv 2508.06471): part of each head is rotated, and the first layers are dense. */
export const glm4Moe: Family = {
  modelType: "glm4_moe",
  defaults: {
    ...llamaDefaults,
    ...defaults,
    attention_bias: false,
    first_k_dense_replace: 1,
    head_dim: null,
    intermediate_size: 10944,
    max_position_embeddings: 131072,
    num_attention_heads: 96,
    num_hidden_layers: 46,
    num_key_value_heads: 8,
    partial_rotary_factor: 0.5,
    rms_norm_eps: 1e-5,
    use_qk_norm: false,
    vocab_size: 151552,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config, {}, groupFill(config)) },
  decoder: {
    ...llamaDecoder,
    architecture: "Glm4MoeForCausalLM",
    supported: { ...llamaDecoder.supported, partial_rotary_factor: undefined },
    attention: (config) => ({
      headNorm: config.flag("use_qk_norm") ? "head" : "none",
      qkvBias: config.flag("attention_bias"),
      outputBias: false,
      rotaryDim: config.rotaryDim(),
    }),
    sparse: (config, layer) => layer >= config.count("first_k_dense_replace", 0),
    floats: [...llamaDecoder.floats, "partial_rotary_factor", "routed_scaling_factor"],
  },
};

/** GLM-4.7-Flash; its block. */
export const glm4MoeLite: Family = {
  modelType: "glm4_moe_lite",
  defaults: {
    ...defaults,
    hidden_size: 2048,
    moe_intermediate_size: 1536,
    n_routed_experts: 64,
    num_experts_per_tok: 4,
    routed_scaling_factor: 1.8,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
};

/** GLM-5; its block. */
export const glmMoeDsa: Family = {
  modelType: "glm_moe_dsa",
  defaults: {
    ...defaults,
    hidden_size: 6144,
    moe_intermediate_size: 2048,
    n_routed_experts: 256,
    routed_scaling_factor: 2.5,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
};

/** GLM-4.5V; the block of its language model. */
export const glm4vMoe: Family = {
  modelType: "glm4v_moe",
  section: "text_config",
  defaults: { ...defaults, router_aux_loss_coef: 0.0001 },
  block: {
    ...glm4Moe.block,
    losses: pooledBalance,
    prefix: "model.language_model.layers.{layer}.mlp.",
  },
};
