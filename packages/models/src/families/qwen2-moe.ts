import type { Family } from "../family.ts";
import { grouped } from "./attention.ts";
import { expertTensors } from "./experts.ts";
import { gatedFfn, llamaDecoder } from "./llama.ts";
import { qwenBlock, qwenDefaults, qwenRouter, sparseByStep } from "./qwen.ts";

/** Qwen1.5-MoE and Qwen2-MoE (arXiv 2407.10671): a shared expert behind a sigmoid gate. */
export const qwen2Moe: Family = {
  modelType: "qwen2_moe",
  defaults: {
    ...qwenDefaults,
    intermediate_size: 5632,
    max_window_layers: 28,
    moe_intermediate_size: 1408,
    num_attention_heads: 16,
    num_experts: 60,
    num_experts_per_tok: 4,
    num_key_value_heads: 16,
    qkv_bias: true,
    shared_expert_intermediate_size: 5632,
  },
  block: {
    ...qwenBlock,
    moe: (config) => ({
      router: qwenRouter(config),
      expert: gatedFfn(config, config.count("moe_intermediate_size")),
      shared: {
        ...gatedFfn(config, config.count("shared_expert_intermediate_size")),
        merge: "gate",
      },
    }),
    tensors: /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_expert"),
  },
  decoder: {
    ...llamaDecoder,
    architecture: "Qwen2MoeForCausalLM",
    sparse: sparseByStep,
    attention: (config) =>
      grouped(config, { headNorm: "none", qkvBias: config.flag("qkv_bias"), outputBias: false }),
  },
};
