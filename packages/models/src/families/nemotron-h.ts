import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { deepseekRouter } from "./deepseek.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["gate.weight"] },
  { path: "state.router.selectionBias", names: ["gate.e_score_correction_bias"] },
  { path: "experts.bank.up", names: ["experts.{expert}.up_proj.weight"] },
  { path: "experts.bank.down", names: ["experts.{expert}.down_proj.weight"] },
  { path: "experts.down", names: ["fc1_latent_proj.weight"] },
  { path: "experts.up", names: ["fc2_latent_proj.weight"] },
  { path: "shared.ffn.up", names: ["shared_experts.up_proj.weight"] },
  { path: "shared.ffn.down", names: ["shared_experts.down_proj.weight"] },
];

/** Nemotron 3 (NVIDIA, 2025); its block: squared ReLU without a gate, in a latent space if given. */
export const nemotronH: Family = {
  modelType: "nemotron_h",
  defaults: {
    hidden_size: 4096,
    initializer_range: 0.02,
    mlp_hidden_act: "relu2",
    moe_intermediate_size: 7688,
    moe_latent_size: null,
    moe_shared_expert_intermediate_size: 7688,
    n_group: 1,
    n_routed_experts: 8,
    norm_topk_prob: true,
    num_experts_per_tok: 2,
    routed_scaling_factor: 1,
    topk_group: 1,
  },
  block: {
    supported: { mlp_bias: [false] },
    moe(config) {
      const ffn = { activation: config.activation("mlp_hidden_act"), gated: false };
      const sharedSize = config.count("moe_shared_expert_intermediate_size");
      return {
        router: deepseekRouter(config),
        expert: { ...ffn, intermediateSize: config.count("moe_intermediate_size") },
        around: [{ kind: "latent", latentSize: config.countIfAny("moe_latent_size") }],
        shared: { ...ffn, intermediateSize: sharedSize, merge: "add" },
      };
    },
    losses: () => [],
    tensors,
    fused: [
      { path: "experts.bank.up", names: ["experts.up_proj"] },
      { path: "experts.bank.down", names: ["experts.down_proj"] },
    ],
    prefix: "backbone.layers.{layer}.mixer.",
  },
};
