import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";

/** MiMo-V2-Flash (Xiaomi, 2025); its block is DeepSeek-V3's without shared experts. */
export const mimoV2Flash: Family = {
  modelType: "mimo_v2_flash",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 2048,
    n_group: 1,
    n_routed_experts: 256,
    norm_topk_prob: true,
    num_experts_per_tok: 8,
    routed_scaling_factor: 1,
    topk_group: 1,
  },
  block: {
    ...deepseekBlock,
    // Its files hold `n_shared_experts: null`, and the model reads no such key.
    moe: (config) => ({ ...deepseekMoe(config), shared: undefined }),
  },
};
