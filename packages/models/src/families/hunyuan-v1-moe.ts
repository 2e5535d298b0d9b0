import { mixtralSpec } from "@moiety/routers";
import type { Family } from "../family.ts";
import type { ConfigReader } from "../config-reader.ts";
import { type RopeConfig, readRope } from "../config-rope.ts";
import { biases, grouped } from "./attention.ts";
import { expertTensors, fusedExperts } from "./experts.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/**
 * Positions: with `alpha`, `dynamic` means a base that is larger by a fixed factor, and its other keys
 * nothing. (Beyond `max_position_embeddings` transformers' code forgets `alpha`; here it stays.)
 */
function ropeOf(config: ConfigReader): RopeConfig {
  const rope = config.nested("rope_scaling");
  const alpha = rope.numberIfAny("alpha") ?? 0;
  if (alpha === 0) return readRope(config);
  const width = config.headDim();
  const keys = ["alpha", "beta_fast", "beta_slow", "factor", "mscale", "mscale_all_dim"];
  const { ropeTheta } = readRope(config, { dynamic: { keys, read: () => undefined } });
  return { ropeTheta: ropeTheta * alpha ** (width / (width - 2)) };
}

const attention = "layers.{layer}.attention.";
const selfAttention = "model.layers.{layer}.self_attn.";

/** Hunyuan-A13B (2025): queries and keys are normalised after they are rotated. Numbers of experts and choices may be lists, one for each layer. */
export const hunyuanV1Moe: Family = {
  modelType: "hunyuan_v1_moe",
  defaults: {
    ...llamaDefaults,
    attention_bias: false,
    bos_token_id: 1,
    eod_token_id: 3,
    eos_token_id: 2,
    head_dim: null,
    hidden_size: 4096,
    intermediate_size: 11008,
    max_position_embeddings: 2048,
    moe_topk: 1,
    num_attention_heads: 32,
    num_experts: 1,
    num_hidden_layers: 32,
    num_key_value_heads: null,
    pad_token_id: 0,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    sep_token_id: 4,
    vocab_size: 290943,
  },
  block: {
    moe(config, layer) {
      const ffn = gatedFfn(config, config.count("intermediate_size"));
      const spec = mixtralSpec({
        numLocalExperts: config.countAt("num_experts", layer),
        numExpertsPerTok: config.countAt("moe_topk", layer),
      });
      return { router: { spec }, expert: ffn, shared: { ...ffn, merge: "add" } };
    },
    losses: () => [],
    tensors: /*#__PURE__*/ withRules(
      /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_mlp"),
      [{ path: "router.weight", names: ["gate.wg.weight"] }],
    ),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.mlp.",
  },
  decoder: {
    ...llamaDecoder,
    architecture: "HunYuanMoEV1ForCausalLM",
    supported: {
      ...llamaDecoder.supported,
      add_classification_head: [false],
      moe_drop_tokens: [false],
      moe_layer_num_skipped: [0],
      norm_type: ["rms"],
      use_cla: [false],
      use_mixed_mlp_moe: [false],
      use_qk_norm: [true],
    },
    attention: (config) =>
      grouped(config, { headNorm: "head", normAfterRope: true, ...biases(config) }, ropeOf(config)),
    tensors: /*#__PURE__*/ withRules(llamaDecoder.tensors, [
      { path: `${attention}queryNorm`, names: [`${selfAttention}query_layernorm.weight`] },
      { path: `${attention}keyNorm`, names: [`${selfAttention}key_layernorm.weight`] },
    ]),
    spelledOut: (config) => ({
      head_dim: config.headDim(),
      num_key_value_heads: config.keyValueHeads(),
    }),
  },
};
