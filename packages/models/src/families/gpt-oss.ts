import type { JsonObject, TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { FfnConfig } from "../decoder/config.ts";
import type { Family } from "../family.ts";
import { biases, grouped, windowByType } from "./attention.ts";
import { pooledBalance } from "./experts.ts";
import { llamaDecoder, llamaDefaults } from "./llama.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.weight"] },
  { path: "router.bias", names: ["router.bias"] },
  { path: "experts.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.gateUpBias", names: ["experts.gate_up_proj_bias"] },
  { path: "experts.down", names: ["experts.down_proj"] },
  { path: "experts.downBias", names: ["experts.down_proj_bias"] },
];

/** Steepness and limit of the experts' activation, which the code does not take from the file. */
const ALPHA = 1.702;
const SWIGLU_LIMIT = 7;

/** How positions are stretched where a configuration does not say. */
const ropeScaling: JsonObject = {
  beta_fast: 32,
  beta_slow: 1,
  factor: 32,
  original_max_position_embeddings: 4096,
  rope_type: "yarn",
  truncate: false,
};

function expertOf(config: ConfigReader): FfnConfig {
  return {
    intermediateSize: config.count("intermediate_size"),
    activation: "silu",
    alpha: config.numberIfAny("alpha") ?? ALPHA,
    gated: true,
    layout: { packing: "interleaved", first: "gate" },
    clamp: { limit: config.numberIfAny("swiglu_limit") ?? SWIGLU_LIMIT },
    upOffset: 1,
    bias: true,
    transposed: true,
  };
}

/** Sliding and full layers in turn. */
function layerTypes(config: ConfigReader): string[] {
  return Array.from({ length: config.count("num_hidden_layers") }, (_, layer) =>
    layer % 2 === 0 ? "sliding_attention" : "full_attention",
  );
}

/**
 * gpt-oss (arXiv 2508.10925), with weights in floats: sinks beside the keys, and every second layer
 * sees a window.
 */
export const gptOss: Family = {
  modelType: "gpt_oss",
  defaults: {
    ...llamaDefaults,
    attention_bias: true,
    eos_token_id: null,
    head_dim: 64,
    hidden_size: 2880,
    intermediate_size: 2880,
    layer_types: null,
    max_position_embeddings: 131072,
    num_attention_heads: 64,
    num_experts_per_tok: 4,
    num_hidden_layers: 36,
    num_key_value_heads: 8,
    num_local_experts: 128,
    rms_norm_eps: 1e-5,
    rope_scaling: ropeScaling,
    rope_theta: 150000,
    router_aux_loss_coef: 0.9,
    sliding_window: 128,
    vocab_size: 201088,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: {
          experts: config.count("num_local_experts"),
          topK: config.count("num_experts_per_tok"),
          score: "softmax",
          selectBy: "logits",
          weight: "softmaxOfChosen",
        },
        linearBias: true,
      },
      expert: expertOf(config),
    }),
    losses: pooledBalance,
    tensors,
    prefix: "model.layers.{layer}.mlp.",
  },
  decoder: {
    ...llamaDecoder,
    architecture: "GptOssForCausalLM",
    supported: {
      ...llamaDecoder.supported,
      layer_types: ["full_attention", "sliding_attention"],
    },
    attention: (config) => grouped(config, { headNorm: "none", sinks: true, ...biases(config) }),
    window: windowByType,
    losses: (config) =>
      pooledBalance(config).map((loss) =>
        // Up to release 4 whole models pool the weights of the chosen, from release 5 the logits.
        (config.release() ?? 5) < 5 ? { ...loss, from: "weights" } : loss,
      ),
    spelledOut: (config) => ({
      layer_types: config.value("layer_types") ?? layerTypes(config),
    }),
  },
};
