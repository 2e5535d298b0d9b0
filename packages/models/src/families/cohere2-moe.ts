import type { RouteSpec } from "@moiety/core";
import type { ConfigReader } from "../config-reader.ts";
import type { Family } from "../family.ts";
import { sharedExperts } from "./deepseek.ts";
import { expertTensors, fusedExperts } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

/** The k best logits, then a softmax over them, or their sigmoids. */
function specOf(config: ConfigReader): RouteSpec {
  const chosen = {
    experts: config.count("num_experts"),
    topK: config.count("num_experts_per_tok"),
    selectBy: "logits",
  } as const;
  if (config.choice("expert_selection_fn", ["softmax", "sigmoid"]) === "softmax") {
    return { ...chosen, score: "softmax", weight: "softmaxOfChosen" };
  }
  return {
    ...chosen,
    score: "sigmoid",
    renormalize: config.flag("norm_topk_prob") ? {} : undefined,
  };
}

/** Command A+ (Cohere, 2026); its block, whose shared experts are added or averaged. */
export const cohere2Moe: Family = {
  modelType: "cohere2_moe",
  defaults: {
    expert_selection_fn: "softmax",
    hidden_act: "silu",
    hidden_size: 8192,
    initializer_range: 0.02,
    intermediate_size: 22528,
    norm_topk_prob: true,
    num_experts: 8,
    num_experts_per_tok: 2,
    num_shared_experts: 0,
    shared_expert_combination_strategy: "average",
  },
  block: {
    moe(config) {
      const size = config.count("intermediate_size");
      const strategy = config.choice("shared_expert_combination_strategy", ["average", "sum"]);
      const shared = sharedExperts(config, "num_shared_experts", size);
      return {
        router: { spec: specOf(config) },
        expert: gatedFfn(config, size),
        shared: shared && { ...shared, merge: strategy === "sum" ? "add" : "average" },
      };
    },
    losses: () => [],
    tensors: /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_experts"),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.mlp.",
  },
};
