import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe, groupFill } from "./deepseek.ts";

/** dots.llm1 (arXiv 2506.05767); its block. */
export const dots1: Family = {
  modelType: "dots1",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4608,
    initializer_range: 0.02,
    moe_intermediate_size: 1408,
    n_group: 1,
    n_routed_experts: null,
    n_shared_experts: null,
    norm_topk_prob: false,
    num_experts_per_tok: null,
    routed_scaling_factor: 1,
    topk_group: 1,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config, {}, groupFill(config)) },
};
