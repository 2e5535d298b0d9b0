import type { TensorRule } from "@moiety/checkpoints";
import { switchSpec } from "@moiety/routers";
import type { Family } from "../family.ts";
import { switchLosses } from "./experts.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.classifier.weight"] },
  { path: "router.bias", names: ["router.classifier.bias"] },
  { path: "experts.up", names: ["experts.expert_{expert}.wi.weight"] },
  { path: "experts.down", names: ["experts.expert_{expert}.wo.weight"] },
];

/** Switch Transformer (arXiv 2101.03961); its block. */
export const switchTransformers: Family = {
  modelType: "switch_transformers",
  defaults: {
    d_ff: 2048,
    d_model: 768,
    dense_act_fn: "relu",
    expert_capacity: 64,
    num_experts: 8,
    router_aux_loss_coef: 0.001,
    router_bias: false,
    router_jitter_noise: 0.01,
    router_z_loss_coef: 0.001,
  },
  block: {
    width: "d_model",
    supported: { is_gated_act: [false] },
    moe: (config) => ({
      router: {
        spec: switchSpec({
          numExperts: config.count("num_experts"),
          expertCapacity: config.count("expert_capacity"),
        }),
        linearBias: config.flag("router_bias"),
        jitter: config.number("router_jitter_noise"),
      },
      expert: {
        intermediateSize: config.count("d_ff"),
        activation: config.activation("dense_act_fn"),
        gated: false,
      },
    }),
    losses: switchLosses,
    tensors,
    prefix: "encoder.block.{layer}.layer.1.mlp.",
  },
};
