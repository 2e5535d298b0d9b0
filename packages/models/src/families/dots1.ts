import type { Family } from "../family.ts";
import type { ConfigReader } from "../config-reader.ts";
import { biases, denseFirst, grouped } from "./attention.ts";
import { deepseekBlock, deepseekMoe, groupFill } from "./deepseek.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";

const SLIDING = "sliding_attention";
const FULL = "full_attention";

/** What a layer sees: what `layer_types` says, else a window from `max_window_layers` on. */
function typeOf(config: ConfigReader, layer: number): string {
  const slides =
    config.value("sliding_window") !== null && layer >= config.count("max_window_layers", 0);
  return config.wordAt("layer_types", layer) ?? (slides ? SLIDING : FULL);
}

/** dots.llm1 (arXiv 2506.05767): Qwen3's attention around DeepSeek-V3's experts. */
export const dots1: Family = {
  modelType: "dots1",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    eos_token_id: null,
    first_k_dense_replace: 0,
    hidden_size: 4608,
    intermediate_size: 10944,
    layer_types: null,
    max_position_embeddings: 2048,
    max_window_layers: 62,
    moe_intermediate_size: 1408,
    n_group: 1,
    n_routed_experts: null,
    n_shared_experts: null,
    norm_topk_prob: false,
    num_attention_heads: 32,
    num_experts_per_tok: null,
    num_hidden_layers: 62,
    num_key_value_heads: 32,
    rms_norm_eps: 1e-6,
    routed_scaling_factor: 1,
    sliding_window: 4096,
    topk_group: 1,
    vocab_size: 152064,
  },
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config, {}, groupFill(config)) },
  decoder: {
    ...llamaDecoder,
    architecture: "Dots1ForCausalLM",
    supported: { ...llamaDecoder.supported, layer_types: [FULL, SLIDING] },
    attention: (config) => grouped(config, { headNorm: "head", ...biases(config) }),
    window: (config, layer) =>
      typeOf(config, layer) === SLIDING ? config.count("sliding_window") : undefined,
    sparse: denseFirst,
    floats: [...llamaDecoder.floats, "routed_scaling_factor"],
    spelledOut: (config) => ({
      layer_types: Array.from({ length: config.count("num_hidden_layers") }, (_, layer) =>
        typeOf(config, layer),
      ),
    }),
  },
};
