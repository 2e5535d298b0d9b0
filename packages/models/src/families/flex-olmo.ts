import type { Family } from "../family.ts";
import { biases, grouped } from "./attention.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";
import { qwenBlock, qwenRouter } from "./qwen.ts";
import { withRules } from "./rule-list.ts";

const from = "model.layers.{layer}.";
const to = "layers.{layer}.";

/** FlexOlmo (arXiv 2507.07024): OLMo 2's attention, and norms of what comes out of a layer's parts. */
export const flexOlmo: Family = {
  modelType: "flex_olmo",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    eos_token_id: 100257,
    hidden_size: 4096,
    intermediate_size: 11008,
    max_position_embeddings: 4096,
    norm_topk_prob: false,
    num_attention_heads: 32,
    num_experts: 7,
    num_experts_per_tok: 5,
    num_hidden_layers: 32,
    num_key_value_heads: null,
    pad_token_id: 100277,
    rms_norm_eps: 1e-6,
    rope_theta: 500000,
    router_aux_loss_coef: 0.01,
    vocab_size: 100352,
  },
  block: {
    ...qwenBlock,
    moe: (config) => ({
      router: qwenRouter(config),
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
  },
  decoder: {
    ...llamaDecoder,
    architecture: "FlexOlmoForCausalLM",
    attention: (config) => grouped(config, { headNorm: "projection", ...biases(config) }),
    norms: () => ({ normPosition: "after" }),
    tensors: /*#__PURE__*/ withRules(llamaDecoder.tensors, [
      { path: `${to}attentionNorm`, names: [`${from}post_attention_layernorm.weight`] },
      { path: `${to}ffnNorm`, names: [`${from}post_feedforward_layernorm.weight`] },
    ]),
    spelledOut: (config) => ({ num_key_value_heads: config.keyValueHeads() }),
  },
};
