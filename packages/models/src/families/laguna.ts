import type { Family } from "../family.ts";
import { biasedSigmoid, expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { outputFactor } from "./output-factor.ts";
import { routerTensors, sharedTensors, withRules } from "./rule-list.ts";

const BIAS = "e_score_correction_bias";

const tensors = /*#__PURE__*/ withRules(
  /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_expert"),
  /*#__PURE__*/ routerTensors("gate.weight", `experts.${BIAS}`),
);

const fused = /*#__PURE__*/ fusedExperts.concat(
  /*#__PURE__*/ routerTensors("gate.weight", `gate.${BIAS}`),
  /*#__PURE__*/ sharedTensors("shared_experts"),
);

/** Laguna (Poolside); its block. */
export const laguna: Family = {
  modelType: "laguna",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2048,
    initializer_range: 0.02,
    moe_apply_router_weight_on_input: false,
    moe_intermediate_size: 512,
    moe_routed_scaling_factor: 1,
    moe_router_logit_softcapping: 0,
    num_experts: 256,
    num_experts_per_tok: 8,
    router_aux_loss_coef: 0.001,
    shared_expert_intermediate_size: 512,
  },
  block: {
    supported: { moe_apply_router_weight_on_input: [false] },
    moe(config) {
      const softcap = config.number("moe_router_logit_softcapping");
      return {
        router: {
          spec: biasedSigmoid(config, "num_experts"),
          logitSoftcap: softcap > 0 ? softcap : undefined,
        },
        expert: gatedFfn(config, config.count("moe_intermediate_size")),
        around: outputFactor(config.number("moe_routed_scaling_factor")),
        shared: {
          ...gatedFfn(config, config.count("shared_expert_intermediate_size")),
          merge: "add",
        },
      };
    },
    losses: pooledBalance,
    tensors,
    fused,
    prefix: "model.layers.{layer}.mlp.",
  },
};
