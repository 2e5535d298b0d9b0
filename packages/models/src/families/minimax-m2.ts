import type { Family } from "../family.ts";
import type { ConfigReader } from "../config-reader.ts";
import { grouped } from "./attention.ts";
import { biasedSigmoid, expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** Elements of a head that are rotated: `rotary_dim`, or the part that release 5 names. */
function rotaryDim(config: ConfigReader): number {
  const named = config.nested("rope_parameters").value("partial_rotary_factor");
  return named === null
    ? (config.countIfAny("rotary_dim") ?? config.headDim())
    : config.rotaryDim();
}

/** MiniMax-M2 (2025): queries and keys normalised over whole projections and rotated in part. */
export const minimaxM2: Family = {
  modelType: "minimax_m2",
  defaults: {
    ...llamaDefaults,
    bos_token_id: 200034,
    eos_token_id: 200020,
    head_dim: 128,
    hidden_size: 3072,
    intermediate_size: 1536,
    max_position_embeddings: 196608,
    num_attention_heads: 48,
    num_experts_per_tok: 8,
    num_hidden_layers: 62,
    num_key_value_heads: 8,
    num_local_experts: 256,
    rms_norm_eps: 1e-6,
    rope_theta: 5000000,
    router_aux_loss_coef: 0.001,
    router_jitter_noise: 0,
    vocab_size: 200064,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: biasedSigmoid(config, "num_local_experts"),
        jitter: config.number("router_jitter_noise"),
      },
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
    losses: pooledBalance,
    tensors: /*#__PURE__*/ withRules(/*#__PURE__*/ expertTensors("w1", "w3", "w2"), [
      { path: "state.router.selectionBias", names: ["e_score_correction_bias"] },
    ]),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
  decoder: {
    ...llamaDecoder,
    architecture: "MiniMaxM2ForCausalLM",
    supported: {
      ...llamaDecoder.supported,
      attn_type_list: [1],
      qk_norm_type: ["per_layer"],
      scoring_func: ["sigmoid"],
      shared_intermediate_size: [0],
      use_qk_norm: [true],
      use_routing_bias: [true],
    },
    attention: (config) =>
      grouped(config, {
        headNorm: "projection",
        qkvBias: false,
        outputBias: false,
        rotaryDim: rotaryDim(config),
      }),
    floats: [...llamaDecoder.floats, "router_jitter_noise"],
  },
};
