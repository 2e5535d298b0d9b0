import type { JsonObject, TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { MoeConfig } from "../decoder/config.ts";
import type { Family, FamilyDecoder } from "../family.ts";
import { biases, grouped } from "./attention.ts";
import { pooledBalance } from "./experts.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";

/** What the configuration classes of Granite's models assume. */
export const graniteDefaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 4096,
  initializer_range: 0.02,
  intermediate_size: 11008,
  num_experts_per_tok: 2,
  num_local_experts: 8,
  router_aux_loss_coef: 0.001,
};

/** The k best logits with a softmax over them as weights; gated experts. */
export function graniteMoe(config: ConfigReader): MoeConfig {
  return {
    router: {
      spec: {
        experts: config.count("num_local_experts"),
        topK: config.count("num_experts_per_tok"),
        score: "softmax",
        selectBy: "logits",
        weight: "softmaxOfChosen",
      },
    },
    expert: gatedFfn(config, config.count("intermediate_size")),
  };
}

/** Tensors of a block whose names begin with `prefix`. */
export function graniteTensors(prefix: string): readonly TensorRule[] {
  return [
    { path: "router.weight", names: [`${prefix}router.layer.weight`] },
    { path: "experts.gateUp", names: [`${prefix}input_linear.weight`] },
    { path: "experts.down", names: [`${prefix}output_linear.weight`] },
  ];
}

/** What release 5 calls them in memory. */
export function graniteFused(prefix: string): readonly TensorRule[] {
  return [
    { path: "router.weight", names: [`${prefix}router.weight`] },
    { path: "experts.gateUp", names: [`${prefix}experts.gate_up_proj`] },
    { path: "experts.down", names: [`${prefix}experts.down_proj`] },
  ];
}

/** What the configuration classes of whole models assume beside it. */
export const graniteAround: JsonObject = {
  ...llamaDefaults,
  attention_bias: false,
  attention_multiplier: 1,
  bos_token_id: 1,
  embedding_multiplier: 1,
  eos_token_id: 2,
  logits_scaling: 1,
  max_position_embeddings: 2048,
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: null,
  residual_multiplier: 1,
  rms_norm_eps: 1e-6,
  vocab_size: 32000,
};

/** Granite's layers around their blocks, scaled by numbers of the configuration. */
export const graniteDecoder: FamilyDecoder = {
  ...llamaDecoder,
  architecture: "GraniteMoeForCausalLM",
  supported: { ...llamaDecoder.supported, position_embedding_type: ["rope"] },
  attention: (config) =>
    grouped(config, {
      headNorm: "none",
      ...biases(config),
      scale: config.number("attention_multiplier"),
    }),
  scales: (config) => ({
    embedding: config.number("embedding_multiplier"),
    residual: config.number("residual_multiplier"),
    logits: config.number("logits_scaling"),
  }),
  floats: [
    ...llamaDecoder.floats,
    "attention_multiplier",
    "embedding_multiplier",
    "logits_scaling",
    "residual_multiplier",
  ],
  spelledOut: (config) => ({ num_key_value_heads: config.keyValueHeads() }),
};

/** Granite 3 MoE (IBM, 2024). */
export const granitemoe: Family = {
  modelType: "granitemoe",
  defaults: { ...graniteAround, ...graniteDefaults },
  block: {
    moe: graniteMoe,
    losses: pooledBalance,
    tensors: /*#__PURE__*/ graniteTensors(""),
    fused: /*#__PURE__*/ graniteFused(""),
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
  decoder: graniteDecoder,
};
