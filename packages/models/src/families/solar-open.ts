import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";

/** Solar Open (Upstage); its block is DeepSeek-V3's. */
export const solarOpen: Family = {
  modelType: "solar_open",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 1280,
    n_group: 1,
    n_routed_experts: 128,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_experts_per_tok: 8,
    routed_scaling_factor: 1,
    topk_group: 1,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
};
