import type { Family } from "../family.ts";
import { biasedSigmoid, expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** MiniMax-M2 (2025); its block. */
export const minimaxM2: Family = {
  modelType: "minimax_m2",
  defaults: {
    hidden_act: "silu",
    hidden_size: 3072,
    initializer_range: 0.02,
    intermediate_size: 1536,
    num_experts_per_tok: 8,
    num_local_experts: 256,
    router_aux_loss_coef: 0.001,
    router_jitter_noise: 0,
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
};
