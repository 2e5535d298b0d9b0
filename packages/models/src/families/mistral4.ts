import type { Family } from "../family.ts";
import { deepseekBlock, deepseekExperts } from "./deepseek.ts";
import { fusedExperts } from "./experts.ts";
import { withRules } from "./rule-list.ts";

/** Mistral 4; its block: DeepSeek's groups over softmax scores. */
export const mistral4: Family = {
  modelType: "mistral4",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 2048,
    n_group: 1,
    n_routed_experts: 128,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_experts_per_tok: 4,
    routed_scaling_factor: 1,
    topk_group: 1,
  },
  block: {
    ...deepseekBlock,
    moe(config) {
      const [count, topK] = [config.count("n_group"), config.count("topk_group")];
      return {
        router: {
          spec: {
            experts: config.count("n_routed_experts"),
            topK: config.count("num_experts_per_tok"),
            score: "softmax",
            groups: count === 1 ? undefined : { count, topK, score: { top: 2 }, fill: "zero" },
            renormalize: config.flag("norm_topk_prob") ? { epsilon: 1e-20 } : undefined,
            scale: config.number("routed_scaling_factor"),
          },
        },
        ...deepseekExperts(config),
      };
    },
    tensors: /*#__PURE__*/ withRules(deepseekBlock.tensors, fusedExperts),
  },
};
