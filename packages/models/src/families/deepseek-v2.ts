import type { RouteSpec } from "@moiety/core";
import type { ConfigReader } from "../config-reader.ts";
import type { Family } from "../family.ts";
import { deepseekBlock, deepseekExperts } from "./deepseek.ts";

/** DeepSeek-V2 (arXiv 2405.04434); its block. `norm_topk_prob` is read by nobody. */
export const deepseekV2: Family = {
  modelType: "deepseek_v2",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 1407,
    n_group: null,
    n_routed_experts: 64,
    n_shared_experts: 2,
    num_experts_per_tok: null,
    routed_scaling_factor: 1,
    topk_group: null,
    topk_method: "greedy",
  },
  block: {
    ...deepseekBlock,
    supported: { topk_method: ["greedy", "group_limited_greedy"] },
    moe: (config) => ({
      router: {
        spec: {
          experts: config.count("n_routed_experts"),
          topK: config.count("num_experts_per_tok"),
          score: "softmax",
          groups: config.value("topk_method") === "greedy" ? undefined : bestGroups(config),
          scale: config.number("routed_scaling_factor"),
        },
      },
      ...deepseekExperts(config),
    }),
  },
};

function bestGroups(config: ConfigReader): RouteSpec["groups"] {
  const [count, topK] = [config.count("n_group"), config.count("topk_group")];
  return { count, topK, score: "max", fill: "zero" };
}
