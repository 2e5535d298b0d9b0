import type { JsonObject } from "@moiety/checkpoints";
import { mixtralSpec } from "@moiety/routers";
import type { Family, FamilyBlock } from "../family.ts";
import { grouped } from "./attention.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";

/** The block of Mixtral and of those that took it over. */
export const mixtralBlock: FamilyBlock = {
  moe: (config) => ({
    router: {
      spec: mixtralSpec({
        numLocalExperts: config.count("num_local_experts"),
        numExpertsPerTok: config.count("num_experts_per_tok"),
      }),
      jitter: config.number("router_jitter_noise"),
    },
    expert: gatedFfn(config, config.count("intermediate_size")),
  }),
  losses: pooledBalance,
  tensors: /*#__PURE__*/ expertTensors("w1", "w3", "w2"),
  fused: fusedExperts,
  prefix: "model.layers.{layer}.block_sparse_moe.",
};

/** What the configuration classes of both assume of the block. */
export const mixtralDefaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 4096,
  initializer_range: 0.02,
  intermediate_size: 14336,
  num_experts_per_tok: 2,
  num_local_experts: 8,
  router_aux_loss_coef: 0.001,
  router_jitter_noise: 0,
};

/** Mixtral (arXiv 2401.04088). */
export const mixtral: Family = {
  modelType: "mixtral",
  defaults: {
    ...llamaDefaults,
    ...mixtralDefaults,
    bos_token_id: 1,
    eos_token_id: 2,
    head_dim: null,
    max_position_embeddings: 131072,
    num_attention_heads: 32,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    rope_theta: 1000000,
    router_aux_loss_coef: 0.001,
    sliding_window: null,
    vocab_size: 32000,
  },
  block: mixtralBlock,
  decoder: {
    ...llamaDecoder,
    architecture: "MixtralForCausalLM",
    attention: (config) =>
      grouped(config, {
        headNorm: "none",
        qkvBias: false,
        outputBias: false,
        window: config.countIfAny("sliding_window"),
      }),
  },
};
