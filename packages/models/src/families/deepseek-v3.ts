import { deepseekV3Spec } from "@moiety/routers";
import type { ConfigReader } from "../config-reader.ts";
import type { Family } from "../family.ts";
import { expertTensors } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

/** DeepSeek-V3 (arXiv 2412.19437); its block. */
export const deepseekV3: Family = {
  modelType: "deepseek_v3",
  defaults: {
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
  },
  block: {
    moe: (config) => ({
      router: {
        spec: deepseekV3Spec({
          nRoutedExperts: config.count("n_routed_experts"),
          numExpertsPerTok: config.count("num_experts_per_tok"),
          nGroup: config.count("n_group"),
          topkGroup: config.count("topk_group"),
          // Before release 5, experts of other groups score 0 and can beat negative biased scores.
          groupFill: (config.release() ?? 5) < 5 ? "zero" : "mask",
          normTopkProb: config.flag("norm_topk_prob"),
          routedScalingFactor: config.number("routed_scaling_factor"),
        }),
      },
      expert: gatedFfn(config, expertSize(config)),
      shared: {
        ...gatedFfn(config, expertSize(config) * config.count("n_shared_experts")),
        merge: "add",
      },
    }),
    losses: () => [],
    tensors: /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_experts"),
    prefix: "model.layers.{layer}.mlp.",
  },
};

function expertSize(config: ConfigReader): number {
  return config.count("moe_intermediate_size");
}
