import type { TensorRule } from "@moiety/checkpoints";
import { qwenMoeSpec } from "@moiety/routers";
import type { Family } from "../family.ts";

/** What the blocks of Step's models hold in checkpoints: every projection of all experts at once. */
export const stepTensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["moe.gate.weight"] },
  {
    path: "experts.gateUp",
    names: ["moe.gate_proj.weight", "moe.up_proj.weight"],
    stacked: true,
  },
  { path: "experts.down", names: ["moe.down_proj.weight"] },
  {
    path: "shared.ffn.gateUp",
    names: ["share_expert.gate_proj.weight", "share_expert.up_proj.weight"],
  },
  { path: "shared.ffn.down", names: ["share_expert.down_proj.weight"] },
];

/** Step-3 (arXiv 2507.19427), as vLLM's `step3_text.py` reads it; its block. */
export const step3: Family = {
  modelType: "step3_text",
  section: "text_config",
  defaults: {
    hidden_size: 7168,
    initializer_range: 0.02,
    moe_intermediate_size: 5120,
    moe_num_experts: 48,
    moe_top_k: 3,
    norm_expert_weight: false,
    share_expert_dim: 5120,
  },
  block: {
    supported: { hidden_act: ["silu"] },
    moe: (config) => ({
      router: {
        spec: qwenMoeSpec({
          numExperts: config.count("moe_num_experts"),
          numExpertsPerTok: config.count("moe_top_k"),
          normTopkProb: config.flag("norm_expert_weight"),
        }),
      },
      expert: {
        intermediateSize: config.count("moe_intermediate_size"),
        activation: "silu",
        gated: true,
      },
      shared: {
        intermediateSize: config.count("share_expert_dim"),
        activation: "silu",
        gated: true,
        merge: "add",
      },
    }),
    losses: () => [],
    tensors: stepTensors,
    prefix: "model.layers.{layer}.",
  },
};
