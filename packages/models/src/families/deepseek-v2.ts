import type { RouteSpec } from "@moiety/core";
import type { ConfigReader } from "../config-reader.ts";
import type { Family } from "../family.ts";
import { denseFirst, latent, latentSizes, latentTensors } from "./attention.ts";
import { deepseekBlock, deepseekExperts } from "./deepseek.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/**
 * DeepSeek-V2 (arXiv 2405.04434). `norm_topk_prob` is read by nobody. With YaRN's `mscale_all_dim` the
 * products of queries and keys are scaled as DeepSeek's own code does, which transformers' left out
 * until 2026.
 */
export const deepseekV2: Family = {
  modelType: "deepseek_v2",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    aux_loss_alpha: 0.001,
    bos_token_id: 1,
    eos_token_id: 2,
    first_k_dense_replace: 0,
    hidden_size: 4096,
    intermediate_size: 11008,
    kv_lora_rank: 512,
    max_position_embeddings: 2048,
    mlp_bias: false,
    moe_intermediate_size: 1407,
    n_group: null,
    n_routed_experts: 64,
    n_shared_experts: 2,
    norm_topk_prob: false,
    num_attention_heads: 32,
    num_experts_per_tok: null,
    num_hidden_layers: 32,
    num_key_value_heads: null,
    q_lora_rank: 1536,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    rms_norm_eps: 1e-6,
    routed_scaling_factor: 1,
    seq_aux: true,
    topk_group: null,
    topk_method: "greedy",
    v_head_dim: 128,
    vocab_size: 32000,
  },
  block: {
    ...deepseekBlock,
    supported: { topk_method: ["greedy", "group_limited_greedy"] },
    moe: (config) => ({
      router: {
        spec: {
          experts: config.count("n_routed_experts"),
          topK: config.count("num_experts_per_tok"),
          score: "softmax",
          groups: config.value("topk_method") === "greedy" ? undefined : bestGroups(config),
          scale: config.number("routed_scaling_factor"),
        },
      },
      ...deepseekExperts(config),
    }),
  },
  decoder: {
    ...llamaDecoder,
    architecture: "DeepseekV2ForCausalLM",
    supported: {
      ...llamaDecoder.supported,
      mlp_bias: [false],
      moe_layer_freq: [1],
      scoring_func: ["softmax"],
    },
    attention: (config) => latent(config, true),
    sparse: denseFirst,
    tensors: /*#__PURE__*/ withRules(llamaDecoder.tensors, latentTensors),
    floats: [...llamaDecoder.floats, "aux_loss_alpha", "routed_scaling_factor"],
    spelledOut: (config) => {
      const { qk_head_dim: _, ...sizes } = latentSizes(config);
      return sizes;
    },
  },
};

function bestGroups(config: ConfigReader): RouteSpec["groups"] {
  const [count, topK] = [config.count("n_group"), config.count("topk_group")];
  return { count, topK, score: "max", fill: "zero" };
}
