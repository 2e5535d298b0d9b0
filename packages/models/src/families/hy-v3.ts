import type { Family } from "../family.ts";
import { deepseekBlock, deepseekExperts } from "./deepseek.ts";
import { biasedSigmoid, expertTensors, fusedExperts } from "./experts.ts";
import { routerTensors, sharedTensors, withRules } from "./rule-list.ts";

const fused = /*#__PURE__*/ fusedExperts.concat(
  /*#__PURE__*/ routerTensors("gate.weight", "e_score_correction_bias"),
  /*#__PURE__*/ sharedTensors("shared_experts"),
);

/** Tencent Hy 3; its block. */
export const hyV3: Family = {
  modelType: "hy_v3",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.006,
    mlp_bias: false,
    moe_intermediate_size: 1536,
    num_experts: 192,
    num_experts_per_tok: 8,
    num_shared_experts: 1,
    router_scaling_factor: 2.826,
  },
  block: {
    ...deepseekBlock,
    supported: { mlp_bias: [false] },
    moe: (config) => ({
      router: {
        spec: {
          ...biasedSigmoid(config, "num_experts"),
          renormalize: { epsilon: 1e-20 },
          scale: config.number("router_scaling_factor"),
        },
      },
      ...deepseekExperts(config, "num_shared_experts"),
    }),
    tensors: /*#__PURE__*/ withRules(
      /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_mlp"),
      /*#__PURE__*/ routerTensors("router.gate.weight", "expert_bias"),
    ),
    fused,
  },
};
