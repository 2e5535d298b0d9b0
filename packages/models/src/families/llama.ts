import type { JsonObject, TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { FfnConfig } from "../decoder/config.ts";
import type { FamilyDecoder } from "../family.ts";

const from = "model.layers.{layer}.";
const to = "layers.{layer}.";

const tensors: readonly TensorRule[] = [
  { path: "embedding", names: ["model.embed_tokens.weight"] },
  { path: "norm", names: ["model.norm.weight"] },
  { path: "normBias", names: ["model.norm.bias"] },
  { path: "head", names: ["lm_head.weight"] },
  { path: "headBias", names: ["lm_head.bias"] },
  { path: `${to}attentionNorm`, names: [`${from}input_layernorm.weight`] },
  { path: `${to}attentionNormBias`, names: [`${from}input_layernorm.bias`] },
  { path: `${to}ffnNorm`, names: [`${from}post_attention_layernorm.weight`] },
  { path: `${to}ffnNormBias`, names: [`${from}post_attention_layernorm.bias`] },
  { path: `${to}attention.query`, names: [`${from}self_attn.q_proj.weight`] },
  { path: `${to}attention.key`, names: [`${from}self_attn.k_proj.weight`] },
  { path: `${to}attention.value`, names: [`${from}self_attn.v_proj.weight`] },
  { path: `${to}attention.output`, names: [`${from}self_attn.o_proj.weight`] },
  { path: `${to}attention.queryBias`, names: [`${from}self_attn.q_proj.bias`] },
  { path: `${to}attention.keyBias`, names: [`${from}self_attn.k_proj.bias`] },
  { path: `${to}attention.valueBias`, names: [`${from}self_attn.v_proj.bias`] },
  { path: `${to}attention.outputBias`, names: [`${from}self_attn.o_proj.bias`] },
  { path: `${to}attention.queryNorm`, names: [`${from}self_attn.q_norm.weight`] },
  { path: `${to}attention.keyNorm`, names: [`${from}self_attn.k_norm.weight`] },
  { path: `${to}attention.sinks`, names: [`${from}self_attn.sinks`] },
  {
    path: `${to}dense.gateUp`,
    names: [`${from}mlp.gate_proj.weight`, `${from}mlp.up_proj.weight`],
  },
  { path: `${to}dense.down`, names: [`${from}mlp.down_proj.weight`] },
];

/** What decoders with Llama's layers and tensor names have in common. */
export const llamaDecoder: Omit<FamilyDecoder, "architecture" | "attention"> = {
  supported: {
    layer_types: ["full_attention"],
    partial_rotary_factor: [1],
    quantization_config: [],
    use_sliding_window: [false],
  },
  dense: (config) => gatedFfn(config, config.count("intermediate_size")),
  tensors,
  // A buffer that old checkpoints saved and everybody computes.
  ignore: [`${from}self_attn.rotary_emb.inv_freq`],
  floats: [
    "attention_dropout",
    "clip_qkv",
    "initializer_range",
    "rms_norm_eps",
    "rope_theta",
    "router_aux_loss_coef",
  ],
};

/** What the configuration classes of such decoders assume (4.57.6; 5.18 agrees). */
export const llamaDefaults: JsonObject = {
  attention_dropout: 0,
  bos_token_id: null,
  hidden_act: "silu",
  initializer_range: 0.02,
  output_router_logits: false,
  pad_token_id: null,
  rope_scaling: null,
  rope_theta: 10000,
  tie_word_embeddings: false,
  use_cache: true,
};

/** A gated network with the configuration's activation. */
export function gatedFfn(config: ConfigReader, intermediateSize: number): FfnConfig {
  return { intermediateSize, activation: config.activation("hidden_act"), gated: true };
}
