import type { JsonObject, TensorRule } from "@moiety/checkpoints";
import { ConfigError } from "@moiety/core";
import type { ConfigReader } from "../config-reader.ts";
import { type RopeConfig, readRope } from "../config-rope.ts";
import type { GroupedAttentionConfig, LatentAttentionConfig } from "../decoder/attention-config.ts";
import { yarnFactor } from "../decoder/rotary.ts";

/** What families with grouped queries differ in. */
type GroupedParts = Pick<GroupedAttentionConfig, "headNorm" | "qkvBias" | "outputBias"> &
  Partial<GroupedAttentionConfig>;

/** Grouped queries with the sizes of the configuration, and its positions unless others are given. */
export function grouped(
  config: ConfigReader,
  parts: GroupedParts,
  rope: RopeConfig = readRope(
    config,
    {},
    parts.rotaryDim === undefined ? [] : ["partial_rotary_factor"],
  ),
): GroupedAttentionConfig {
  return {
    numAttentionHeads: config.count("num_attention_heads"),
    numKeyValueHeads: config.keyValueHeads(),
    headDim: config.headDim(),
    ...rope,
    dropout: config.number("attention_dropout"),
    ...parts,
  };
}

/** The same key says whether queries, keys, values and the output have biases. */
export function biases(
  config: ConfigReader,
  key = "attention_bias",
): Pick<GroupedParts, "qkvBias" | "outputBias"> {
  const bias = config.flag(key);
  return { qkvBias: bias, outputBias: bias };
}

/** Window of the layers that `layer_types` calls sliding; none of those that it calls full. */
export function windowByType(config: ConfigReader, layer: number): number | undefined {
  return config.wordAt("layer_types", layer) === "sliding_attention"
    ? config.count("sliding_window")
    : undefined;
}

/** ε of the norms of latents, which the code does not take from the configuration. */
const LATENT_NORM_EPS = 1e-6;

/**
 * DeepSeek's latent attention. Where YaRN names `mscale_all_dim`, the products of queries and keys
 * are scaled by the square of its factor, too.
 */
export function latent(config: ConfigReader, interleaved: boolean): LatentAttentionConfig {
  const heads = config.count("num_attention_heads");
  if (config.keyValueHeads() !== heads) {
    const value = config.value("num_key_value_heads");
    throw new ConfigError(
      `config.json: num_key_value_heads is ${String(value)}, but latent attention has as many as ` +
        `num_attention_heads, ${heads}`,
      "num_key_value_heads",
      value,
    );
  }
  const bias = config.flag("attention_bias");
  const [qkNopeHeadDim, qkRopeHeadDim] = [
    config.count("qk_nope_head_dim"),
    config.count("qk_rope_head_dim"),
  ];
  return {
    kind: "latent",
    numAttentionHeads: heads,
    qLoraRank: config.countIfAny("q_lora_rank"),
    kvLoraRank: config.count("kv_lora_rank"),
    qkNopeHeadDim,
    qkRopeHeadDim,
    vHeadDim: config.count("v_head_dim"),
    latentBias: bias,
    latentNormEps: LATENT_NORM_EPS,
    outputBias: bias,
    ...readRope(config),
    ropeInterleaved: interleaved,
    scale: (qkNopeHeadDim + qkRopeHeadDim) ** -0.5 * latentStretch(config) ** 2,
    dropout: config.number("attention_dropout"),
  };
}

function latentStretch(config: ConfigReader): number {
  const key = config.value("rope_parameters") === null ? "rope_scaling" : "rope_parameters";
  const rope = config.nested(key);
  const allDim = rope.numberIfAny("mscale_all_dim") ?? 0;
  return allDim === 0 ? 1 : yarnFactor(rope.number("factor"), allDim);
}

/** What the configuration classes of decoders with latent attention write beside its sizes. */
export function latentSizes(config: ConfigReader): JsonObject {
  const rotated = config.count("qk_rope_head_dim");
  return {
    head_dim: rotated,
    num_key_value_heads: config.keyValueHeads(),
    qk_head_dim: config.count("qk_nope_head_dim") + rotated,
  };
}

const from = "model.layers.{layer}.self_attn.";
const to = "layers.{layer}.attention.";

/** Where the weights of latent attention stand. */
export const latentTensors: readonly TensorRule[] = [
  { path: `${to}query`, names: [`${from}q_proj.weight`] },
  { path: `${to}queryA`, names: [`${from}q_a_proj.weight`] },
  { path: `${to}queryABias`, names: [`${from}q_a_proj.bias`] },
  { path: `${to}queryANorm`, names: [`${from}q_a_layernorm.weight`] },
  { path: `${to}queryB`, names: [`${from}q_b_proj.weight`] },
  { path: `${to}keyValueA`, names: [`${from}kv_a_proj_with_mqa.weight`] },
  { path: `${to}keyValueABias`, names: [`${from}kv_a_proj_with_mqa.bias`] },
  { path: `${to}keyValueANorm`, names: [`${from}kv_a_layernorm.weight`] },
  { path: `${to}keyValueB`, names: [`${from}kv_b_proj.weight`] },
];

/** Dense layers first, as many as `first_k_dense_replace` says. */
export function denseFirst(config: ConfigReader, layer: number): boolean {
  return layer >= config.count("first_k_dense_replace", 0);
}
