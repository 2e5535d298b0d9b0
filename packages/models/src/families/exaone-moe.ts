import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";
import { fusedExperts } from "./experts.ts";
import { withRules } from "./rule-list.ts";

/** K-EXAONE; its block. */
export const exaoneMoe: Family = {
  modelType: "exaone_moe",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 1024,
    n_group: 1,
    norm_topk_prob: true,
    num_experts: 64,
    num_experts_per_tok: 8,
    num_shared_experts: 1,
    routed_scaling_factor: 2.5,
    topk_group: 1,
  },
  block: {
    ...deepseekBlock,
    moe: (config) => deepseekMoe(config, { experts: "num_experts", shared: "num_shared_experts" }),
    tensors: /*#__PURE__*/ withRules(deepseekBlock.tensors, [
      { path: "state.router.selectionBias", names: ["e_score_correction_bias"] },
    ]),
    fused: /*#__PURE__*/ withRules(fusedExperts, [
      { path: "state.router.selectionBias", names: ["gate.e_score_correction_bias"] },
    ]),
  },
};
