import type { Family } from "../family.ts";
import { deepseekBlock, deepseekExperts } from "./deepseek.ts";
import { biasedSigmoid } from "./experts.ts";
import { routerTensors, withRules } from "./rule-list.ts";

/** AFMoE (Arcee's Trinity); its block. */
export const afmoe: Family = {
  modelType: "afmoe",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2048,
    initializer_range: 0.02,
    moe_intermediate_size: 1408,
    num_experts: 64,
    num_experts_per_tok: 6,
    num_shared_experts: 2,
    route_scale: 1,
  },
  block: {
    ...deepseekBlock,
    moe: (config) => ({
      router: {
        spec: {
          ...biasedSigmoid(config, "num_experts"),
          renormalize: { epsilon: 1e-20 },
          scale: config.number("route_scale"),
        },
      },
      ...deepseekExperts(config, "num_shared_experts"),
    }),
    tensors: /*#__PURE__*/ withRules(
      deepseekBlock.tensors,
      /*#__PURE__*/ routerTensors("router.gate.weight", "expert_bias"),
    ),
  },
};
