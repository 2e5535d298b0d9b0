import type { JsonObject } from "@moiety/checkpoints";
import { qwenMoeSpec } from "@moiety/routers";
import type { ConfigReader } from "../config-reader.ts";
import type { RouterConfig } from "../decoder/config.ts";
import type { FamilyBlock } from "../family.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { llamaDefaults } from "./llama.ts";

/** Softmax, then the k best, divided by their sum where `norm_topk_prob` says so. */
export function qwenRouter(config: ConfigReader): RouterConfig {
  const spec = qwenMoeSpec({
    numExperts: config.count("num_experts"),
    numExpertsPerTok: config.count("num_experts_per_tok"),
    normTopkProb: config.flag("norm_topk_prob"),
  });
  return { spec };
}

/** What the blocks of Qwen's models and OLMoE have in common. */
export const qwenBlock: Omit<FamilyBlock, "moe"> = {
  losses: pooledBalance,
  tensors: /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj"),
  fused: fusedExperts,
  prefix: "model.layers.{layer}.mlp.",
};

/** What the configuration classes of Qwen's models have in common. */
export const qwenDefaults: JsonObject = {
  ...llamaDefaults,
  decoder_sparse_step: 1,
  hidden_size: 2048,
  max_position_embeddings: 32768,
  mlp_only_layers: [],
  norm_topk_prob: false,
  num_hidden_layers: 24,
  rms_norm_eps: 1e-6,
  router_aux_loss_coef: 0.001,
  sliding_window: null,
  use_sliding_window: false,
  vocab_size: 151936,
};

/** Whether a layer of Qwen's models has experts: every n-th, but for those listed. */
export function sparseByStep(config: ConfigReader, layer: number): boolean {
  const isStep = (layer + 1) % config.count("decoder_sparse_step") === 0;
  return isStep && !config.counts("mlp_only_layers").includes(layer);
}
