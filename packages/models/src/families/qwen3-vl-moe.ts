import { qwenMoeSpec } from "@moiety/routers";
import type { Family } from "../family.ts";
import { fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

/** Qwen3-VL-MoE (arXiv 2511.21631); the block of its language model, which always renormalises. */
export const qwen3VlMoe: Family = {
  modelType: "qwen3_vl_moe",
  section: "text_config",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2048,
    initializer_range: 0.02,
    moe_intermediate_size: 1408,
    num_experts: 60,
    num_experts_per_tok: 4,
    router_aux_loss_coef: 0.001,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: qwenMoeSpec({
          numExperts: config.count("num_experts"),
          numExpertsPerTok: config.count("num_experts_per_tok"),
          normTopkProb: true,
        }),
      },
      expert: gatedFfn(config, config.count("moe_intermediate_size")),
    }),
    losses: pooledBalance,
    // Checkpoints hold `[E, in, out]`, release 5 has `[E, out, in]` in memory.
    tensors: [
      { path: "router.weight", names: ["gate.weight"] },
      { path: "experts.gateUp", names: ["experts.gate_up_proj"], transpose: true },
      { path: "experts.down", names: ["experts.down_proj"], transpose: true },
    ],
    fused: fusedExperts,
    prefix: "model.language_model.layers.{layer}.mlp.",
  },
};
