import type { Family } from "../family.ts";
import { gshardBlock } from "./gshard.ts";

/** GLaM (arXiv 2112.06905), the largest; its block, after GShard's. Nothing of it is published. */
export const glam: Family = {
  modelType: "glam",
  defaults: {
    activation_function: "gelu",
    capacity_factor: 1,
    d_ff: 32768,
    d_model: 8192,
    initializer_range: 0.02,
    num_experts: 64,
    router_aux_loss_coef: 0.01,
    second_expert_policy: "all",
  },
  block: gshardBlock,
};
