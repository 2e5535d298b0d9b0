import type { Family } from "../family.ts";
import { expertTensors, fusedExperts } from "./experts.ts";
import { withRules } from "./rule-list.ts";

/** LFM2-MoE (arXiv 2511.23404); its block. */
export const lfm2Moe: Family = {
  modelType: "lfm2_moe",
  defaults: {
    hidden_size: 2048,
    initializer_range: 0.02,
    moe_intermediate_size: 1792,
    norm_topk_prob: true,
    num_experts: 32,
    num_experts_per_tok: 4,
    routed_scaling_factor: 1,
    use_expert_bias: true,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: {
          experts: config.count("num_experts"),
          topK: config.count("num_experts_per_tok"),
          score: "sigmoid",
          bias: config.flag("use_expert_bias"),
          renormalize: config.flag("norm_topk_prob") ? { epsilon: 1e-6 } : undefined,
          scale: config.number("routed_scaling_factor"),
        },
      },
      expert: {
        intermediateSize: config.count("moe_intermediate_size"),
        activation: "silu",
        gated: true,
      },
    }),
    losses: () => [],
    tensors: /*#__PURE__*/ withRules(/*#__PURE__*/ expertTensors("w1", "w3", "w2"), [
      { path: "state.router.selectionBias", names: ["expert_bias"] },
    ]),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.feed_forward.",
  },
};
