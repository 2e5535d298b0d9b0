import type { JsonObject } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { qwenMoeSpec } from "@moiety/routers";
import { qwen2Moe } from "./qwen2-moe.ts";

const defaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 2048,
  initializer_range: 0.02,
  moe_intermediate_size: 512,
  norm_topk_prob: true,
  num_experts: 512,
  num_experts_per_tok: 10,
  router_aux_loss_coef: 0.001,
  shared_expert_intermediate_size: 512,
};

/** Qwen3-Next (2025); its block is Qwen2-MoE's. */
export const qwen3Next: Family = {
  modelType: "qwen3_next",
  defaults,
  block: qwen2Moe.block,
};

/** Qwen3.5-MoE (2026); the block of its language model, which always renormalises. */
export const qwen35Moe: Family = {
  modelType: "qwen3_5_moe",
  section: "text_config",
  defaults: { ...defaults, num_experts: 256, num_experts_per_tok: 8 },
  block: {
    ...qwen2Moe.block,
    moe: (config, layer) => ({
      ...qwen2Moe.block.moe(config, layer),
      router: {
        spec: qwenMoeSpec({
          numExperts: config.count("num_experts"),
          numExpertsPerTok: config.count("num_experts_per_tok"),
          normTopkProb: true,
        }),
      },
    }),
    prefix: "model.language_model.layers.{layer}.mlp.",
  },
};
