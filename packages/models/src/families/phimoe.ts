import type { Family } from "../family.ts";
import { type RopeType, readRope } from "../config-rope.ts";
import { biases, grouped } from "./attention.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** LongRoPE with the factors of cosines and sines that the file names. */
const longrope: RopeType = {
  keys: [
    "long_factor",
    "long_mscale",
    "original_max_position_embeddings",
    "short_factor",
    "short_mscale",
  ],
  read: (rope) => ({
    kind: "longrope",
    originalMaxPositionEmbeddings: rope.count("original_max_position_embeddings"),
    short: { factors: rope.numbers("short_factor"), scale: rope.number("short_mscale") },
    long: { factors: rope.numbers("long_factor"), scale: rope.number("long_mscale") },
  }),
};

/** Phi-3.5-MoE (arXiv 2404.14219): LayerNorm, LongRoPE, and experts routed by SparseMixer-v2. */
export const phimoe: Family = {
  modelType: "phimoe",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_size: 4096,
    input_jitter_noise: 0,
    intermediate_size: 6400,
    lm_head_bias: false,
    max_position_embeddings: 131072,
    num_attention_heads: 32,
    num_experts_per_tok: 2,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    num_local_experts: 16,
    rms_norm_eps: 1e-5,
    rope_theta: 1000000,
    router_aux_loss_coef: 0.001,
    router_jitter_noise: 0.01,
    sliding_window: null,
    vocab_size: 32064,
  },
  block: {
    supported: { num_experts_per_tok: [2] },
    moe: (config) => ({
      router: {
        kind: "sparseMixer",
        numLocalExperts: config.count("num_local_experts"),
        routerJitterNoise: config.number("router_jitter_noise"),
        inputJitterNoise: config.number("input_jitter_noise"),
      },
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
    losses: pooledBalance,
    tensors: /*#__PURE__*/ expertTensors("w1", "w3", "w2"),
    fused: /*#__PURE__*/ withRules(fusedExperts, [
      { path: "router.weight", names: ["router.weight"] },
    ]),
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
  decoder: {
    ...llamaDecoder,
    architecture: "PhimoeForCausalLM",
    attention: (config) =>
      grouped(
        config,
        { headNorm: "none", ...biases(config), window: config.countIfAny("sliding_window") },
        readRope(config, { longrope }),
      ),
    norms: (config) => ({ norm: "layer", headBias: config.flag("lm_head_bias") }),
    floats: [...llamaDecoder.floats, "input_jitter_noise", "router_jitter_noise"],
  },
};
