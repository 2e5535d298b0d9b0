import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { gatedFfn } from "./llama.ts";

const shared = "shared_experts.";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["gate.weight"] },
  { path: "state.router.routedBias", names: ["gate.e_score_correction_bias"] },
  { path: "experts.scale", names: ["gate.global_scale"] },
  { path: "experts.bank.0.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.bank.0.down", names: ["experts.down_proj"] },
  {
    path: "experts.bank.1.gateUp",
    names: [`${shared}gate_proj`, `${shared}up_proj`],
    stacked: true,
  },
  { path: "experts.bank.1.down", names: [`${shared}down_proj`] },
];

/**
 * Inkling (Thinking Machines, 2026); the block of its language model, whose shared experts share
 * their weights' sum with the chosen ones. Tensors under the names that transformers has in memory.
 */
export const inkling: Family = {
  modelType: "inkling_mm_model",
  section: "text_config",
  defaults: {
    hidden_act: "silu",
    hidden_size: 6144,
    initializer_range: 0.02,
    moe_intermediate_size: 3072,
    n_routed_experts: 256,
    n_shared_experts: 2,
    num_experts_per_tok: 6,
    route_scale: 8,
  },
  block: {
    moe(config) {
      const ffn = gatedFfn(config, config.count("moe_intermediate_size"));
      const sharedExperts = config.count("n_shared_experts");
      return {
        router: {
          kind: "inkling",
          nRoutedExperts: config.count("n_routed_experts"),
          nSharedExperts: sharedExperts,
          numExpertsPerTok: config.count("num_experts_per_tok"),
          routeScale: config.number("route_scale"),
        },
        expert: ffn,
        others: [{ ...ffn, experts: sharedExperts }],
        around: [{ kind: "scaled", per: "layer" }],
      };
    },
    losses: () => [],
    tensors,
    prefix: "model.language_model.layers.{layer}.mlp.",
  },
};
