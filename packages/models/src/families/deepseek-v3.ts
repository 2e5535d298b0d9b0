import type { JsonObject } from "@moiety/checkpoints";
import type { Family, FamilyDecoder } from "../family.ts";
import { denseFirst, latent, latentSizes, latentTensors } from "./attention.ts";
import { deepseekBlock, deepseekMoe, groupFill } from "./deepseek.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** What the configuration classes of DeepSeek-V3 and its kin assume of the block. */
export const deepseekV3Defaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 7168,
  initializer_range: 0.02,
  moe_intermediate_size: 2048,
  n_group: 8,
  n_routed_experts: 256,
  n_shared_experts: 1,
  norm_topk_prob: true,
  num_experts_per_tok: 8,
  routed_scaling_factor: 2.5,
  topk_group: 4,
};

/** What the configuration class of DeepSeek-V3 assumes of what stands around the block. */
export const deepseekV3Around: JsonObject = {
  ...llamaDefaults,
  attention_bias: false,
  bos_token_id: 0,
  eos_token_id: 1,
  first_k_dense_replace: 3,
  intermediate_size: 18432,
  kv_lora_rank: 512,
  max_position_embeddings: 4096,
  num_attention_heads: 128,
  num_hidden_layers: 61,
  num_key_value_heads: 128,
  pretraining_tp: 1,
  q_lora_rank: 1536,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  rms_norm_eps: 1e-6,
  rope_interleave: true,
  v_head_dim: 128,
  vocab_size: 129280,
};

/** DeepSeek-V3's layers around their blocks: latent attention, and dense networks first. */
export const deepseekV3Decoder: FamilyDecoder = {
  ...llamaDecoder,
  architecture: "DeepseekV3ForCausalLM",
  attention: (config) => latent(config, config.flag("rope_interleave")),
  supported: {
    ...llamaDecoder.supported,
    moe_layer_freq: [1],
    scoring_func: ["sigmoid"],
    topk_method: ["noaux_tc"],
  },
  sparse: denseFirst,
  tensors: /*#__PURE__*/ withRules(llamaDecoder.tensors, latentTensors),
  nextLayers: "num_nextn_predict_layers",
  floats: [...llamaDecoder.floats, "routed_scaling_factor"],
  spelledOut: latentSizes,
};

/** DeepSeek-V3 (arXiv 2412.19437): latent attention, experts chosen within the best groups. */
export const deepseekV3: Family = {
  modelType: "deepseek_v3",
  defaults: { ...deepseekV3Around, ...deepseekV3Defaults },
  block: {
    ...deepseekBlock,
    moe: (config) => deepseekMoe(config, {}, groupFill(config)),
  },
  decoder: deepseekV3Decoder,
};
