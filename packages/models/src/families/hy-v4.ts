import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";

/** Tencent Hy 4; its block: the halves of routed experts are limited, those of the shared one not. */
export const hyV4: Family = {
  modelType: "hy_v4",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2816,
    initializer_range: 0.006,
    moe_intermediate_size: 768,
    n_group: 1,
    n_routed_experts: 256,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_experts_per_tok: 8,
    routed_scaling_factor: 2.827,
    swiglu_limit: 10,
    topk_group: 1,
  },
  block: {
    ...deepseekBlock,
    moe(config) {
      const moe = deepseekMoe(config);
      const clamp = { limit: config.number("swiglu_limit") };
      // Routed experts are always silu's; the shared one follows `hidden_act`.
      return { ...moe, expert: { ...moe.expert, activation: "silu", clamp } };
    },
  },
};
