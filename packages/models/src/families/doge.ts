import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { balanceLoss } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router_gate.weight"] },
  { path: "experts.up", names: ["down_embed.weight"], stacked: true, axes: "joined" },
  {
    path: "experts.down",
    names: ["up_embed.weight"],
    stacked: true,
    axes: "joined",
    transpose: true,
  },
  { path: "shared.ffn.gateUp", names: ["gate_proj.weight", "up_proj.weight"] },
  { path: "shared.ffn.down", names: ["down_proj.weight"] },
];

/** Doge (SmallDoge): product keys to experts of one hidden unit, beside a dense network. */
export const doge: Family = {
  modelType: "doge",
  defaults: {
    hidden_act: "silu",
    hidden_size: 1024,
    initializer_range: 0.02,
    intermediate_size: 2048,
    mlp_bias: false,
    norm_topk_prob: false,
    num_experts: 16384,
    num_experts_per_tok: 64,
    router_aux_loss_coef: 0.001,
  },
  block: {
    supported: { mlp_bias: [false] },
    moe: (config) => ({
      router: {
        kind: "doge",
        numExperts: config.count("num_experts"),
        numExpertsPerTok: config.count("num_experts_per_tok"),
        normTopkProb: config.flag("norm_topk_prob"),
      },
      expert: { intermediateSize: 1, activation: config.activation("hidden_act"), gated: false },
      shared: { ...gatedFfn(config, config.count("intermediate_size")), merge: "add" },
    }),
    losses: (config) => balanceLoss(config, "dogeBalance"),
    tensors,
    prefix: "model.layers.{layer}.mlp.",
  },
};
