import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";
import { expertTensors, fusedExperts } from "./experts.ts";
import { sharedTensors, withRules } from "./rule-list.ts";

/** Kimi Linear (arXiv 2510.26692); its block is DeepSeek-V3's under other keys and names. */
export const kimiLinear: Family = {
  modelType: "kimi_linear",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2304,
    initializer_range: 0.02,
    moe_intermediate_size: 1024,
    moe_renormalize: true,
    num_expert_group: 1,
    num_experts: 256,
    num_experts_per_token: 8,
    num_shared_experts: 1,
    routed_scaling_factor: 2.446,
    topk_group: 1,
  },
  block: {
    ...deepseekBlock,
    supported: { moe_router_activation_func: ["sigmoid"] },
    moe: (config) =>
      deepseekMoe(config, {
        experts: "num_experts",
        topK: "num_experts_per_token",
        shared: "num_shared_experts",
        groups: "num_expert_group",
        normalize: "moe_renormalize",
      }),
    tensors: /*#__PURE__*/ withRules(
      /*#__PURE__*/ expertTensors("w1", "w3", "w2"),
      /*#__PURE__*/ sharedTensors("shared_experts"),
    ),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
};
