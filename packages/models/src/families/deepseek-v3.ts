import type { JsonObject } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe, groupFill } from "./deepseek.ts";

/** What the configuration classes of DeepSeek-V3 and its kin assume. */
export const deepseekV3Defaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 7168,
  initializer_range: 0.02,
  moe_intermediate_size: 2048,
  n_group: 8,
  n_routed_experts: 256,
  n_shared_experts: 1,
  norm_topk_prob: true,
  num_experts_per_tok: 8,
  routed_scaling_factor: 2.5,
  topk_group: 4,
};

/** DeepSeek-V3 (arXiv 2412.19437); its block. */
export const deepseekV3: Family = {
  modelType: "deepseek_v3",
  defaults: deepseekV3Defaults,
  block: {
    ...deepseekBlock,
    moe: (config) => deepseekMoe(config, {}, groupFill(config)),
  },
};
