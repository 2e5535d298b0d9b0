import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";

const ofExpert = "experts.{expert}.";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["gate.weight"] },
  { path: "experts.gateUp", names: [`${ofExpert}linear.weight`, `${ofExpert}linear_v.weight`] },
  { path: "experts.down", names: [`${ofExpert}linear_1.weight`] },
];

/** Grok-1 (xAI, 2024); its block as vLLM's `grok1.py` has it: logits 30 · tanh(l / 30). */
export const grok1: Family = {
  modelType: "grok-1",
  defaults: {
    hidden_act: "gelu",
    hidden_size: 6144,
    initializer_range: 0.02,
    intermediate_size: 32768,
    num_experts: 8,
    num_experts_per_tok: 2,
    router_logit_softcapping: 30,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: {
          experts: config.count("num_experts"),
          topK: config.count("num_experts_per_tok"),
          softcap: config.number("router_logit_softcapping"),
          score: "softmax",
          renormalize: {},
        },
      },
      expert: {
        intermediateSize: config.count("intermediate_size"),
        activation: config.activation("hidden_act"),
        gated: true,
      },
    }),
    losses: () => [],
    tensors,
    prefix: "model.layers.{layer}.moe_block.",
  },
};
