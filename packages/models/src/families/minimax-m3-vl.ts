import type { ConfigReader } from "../config-reader.ts";
import type { FfnConfig } from "../decoder/config.ts";
import type { Family } from "../family.ts";
import { biasedSigmoid, expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { outputFactor } from "./output-factor.ts";
import { routerTensors, sharedTensors, withRules } from "./rule-list.ts";

const BIAS = "e_score_correction_bias";

const tensors = /*#__PURE__*/ withRules(
  /*#__PURE__*/ expertTensors("w1", "w3", "w2"),
  /*#__PURE__*/ routerTensors("gate.weight", BIAS).concat(
    /*#__PURE__*/ sharedTensors("shared_experts"),
  ),
);

const fused = /*#__PURE__*/ fusedExperts.concat(
  /*#__PURE__*/ routerTensors("gate.weight", `gate.${BIAS}`),
  { path: "shared.ffn.gateUp", names: ["shared_experts.gate_up_proj.weight"] },
);

/** gpt-oss's activation, but gate and up are not interleaved. */
function activationOf(config: ConfigReader): Omit<FfnConfig, "intermediateSize"> {
  return {
    activation: "silu",
    alpha: config.number("swiglu_alpha"),
    clamp: { limit: config.number("swiglu_limit") },
    gated: true,
    upOffset: 1,
  };
}

/** MiniMax-M3 VL; the block of its language model. */
export const minimaxM3Vl: Family = {
  modelType: "minimax_m3_vl",
  section: "text_config",
  defaults: {
    hidden_size: 6144,
    initializer_range: 0.02,
    intermediate_size: 3072,
    num_experts_per_tok: 4,
    num_local_experts: 128,
    routed_scaling_factor: 2,
    router_aux_loss_coef: 0.001,
    shared_intermediate_size: 3072,
    swiglu_alpha: 1.702,
    swiglu_limit: 7,
  },
  block: {
    moe(config) {
      const ffn = activationOf(config);
      return {
        router: {
          spec: biasedSigmoid(config, "num_local_experts"),
        },
        expert: { ...ffn, intermediateSize: config.count("intermediate_size") },
        around: outputFactor(config.number("routed_scaling_factor")),
        shared: {
          ...ffn,
          intermediateSize: config.count("shared_intermediate_size"),
          merge: "add",
        },
      };
    },
    losses: pooledBalance,
    tensors,
    fused,
    prefix: "language_model.model.layers.{layer}.block_sparse_moe.",
  },
};
