import type { GateClamp } from "@moiety/core";
import type { ConfigReader } from "../config-reader.ts";
import type { Family } from "../family.ts";
import { biasedSigmoid, fusedExperts } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { outputFactor } from "./output-factor.ts";
import { routerTensors, sharedTensors, withRules } from "./rule-list.ts";
import { stepTensors } from "./step3.ts";

const tensors = /*#__PURE__*/ withRules(
  stepTensors,
  /*#__PURE__*/ routerTensors("moe.gate.weight", "moe.router_bias"),
);

const fused = /*#__PURE__*/ fusedExperts.concat(
  /*#__PURE__*/ routerTensors("gate.weight", "gate.e_score_correction_bias"),
  /*#__PURE__*/ sharedTensors("shared_experts"),
);

const aliases = {
  moe_num_experts: "n_routed_experts",
  moe_top_k: "num_experts_per_tok",
  num_local_experts: "n_routed_experts",
  share_expert_dims: "share_expert_dim",
};

/** Step-3.7 (StepFun, 2026); the block of its language model. */
export const step3p7: Family = {
  modelType: "step3p7",
  section: "text_config",
  aliases,
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 1280,
    moe_router_scaling_factor: 1,
    n_routed_experts: 288,
    num_experts_per_tok: 8,
    share_expert_dim: 1280,
    swiglu_limits: null,
    swiglu_limits_shared: null,
  },
  block: {
    supported: { mlp_bias: [false] },
    moe: (config, layer) => ({
      router: {
        spec: biasedSigmoid(config, "n_routed_experts"),
      },
      expert: {
        ...gatedFfn(config, config.count("moe_intermediate_size")),
        clamp: limitAt(config, "swiglu_limits", layer),
      },
      around: outputFactor(config.number("moe_router_scaling_factor")),
      shared: {
        ...gatedFfn(config, config.count("share_expert_dim")),
        clamp: limitAt(config, "swiglu_limits_shared", layer),
        merge: "add",
      },
    }),
    losses: () => [],
    tensors,
    fused,
    prefix: "model.layers.{layer}.",
  },
};

/** The limit of a layer's halves, after the activation; 0 means none. */
function limitAt(config: ConfigReader, key: string, layer: number): GateClamp | undefined {
  const limit = config.numberAtIfAny(key, layer) ?? 0;
  return limit > 0 ? { limit, when: "after" } : undefined;
}
