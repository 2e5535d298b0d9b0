import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.proj.weight"] },
  { path: "router.scale", names: ["router.scale"] },
  { path: "router.expertScale", names: ["router.per_expert_scale"] },
  { path: "experts.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.down", names: ["experts.down_proj"] },
];

/**
 * Gemma 4 (Google, 2026); router and experts of its language model, which see inputs of their own.
 * The class assumes no sizes for them.
 */
export const gemma4: Family = {
  modelType: "gemma4",
  section: "text_config",
  defaults: {
    hidden_activation: "gelu_pytorch_tanh",
    hidden_size: 2304,
    initializer_range: 0.02,
    rms_norm_eps: 1e-6,
  },
  block: {
    moe: (config) => ({
      router: {
        kind: "gemma4",
        numExperts: config.count("num_experts"),
        topKExperts: config.count("top_k_experts"),
        rmsNormEps: config.number("rms_norm_eps"),
      },
      expert: {
        intermediateSize: config.count("moe_intermediate_size"),
        activation: config.activation("hidden_activation"),
        gated: true,
      },
    }),
    losses: () => [],
    tensors,
    prefix: "model.language_model.layers.{layer}.",
  },
};
