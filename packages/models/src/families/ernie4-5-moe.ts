import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import type { ConfigReader } from "../config-reader.ts";
import { biases, grouped } from "./attention.ts";
import { sharedExperts } from "./deepseek.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn, llamaDecoder, llamaDefaults } from "./llama.ts";
import { withRules } from "./rule-list.ts";

const BIAS = "moe_statics.e_score_correction_bias";

const biasesOf = (path: string, prefix: string): TensorRule[] => [
  { path: `${path}.gateUpBias`, names: [`${prefix}.gate_proj.bias`, `${prefix}.up_proj.bias`] },
  { path: `${path}.downBias`, names: [`${prefix}.down_proj.bias`] },
];

const tensors = /*#__PURE__*/ withRules(
  /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_experts"),
  /*#__PURE__*/ biasesOf("experts", "experts.{expert}").concat(
    /*#__PURE__*/ biasesOf("shared.ffn", "shared_experts"),
    { path: "state.router.selectionBias", names: [BIAS], axes: "leadingOne" },
  ),
);

const fused = /*#__PURE__*/ fusedExperts.concat({
  path: "state.router.selectionBias",
  names: [`gate.${BIAS}`],
  axes: "leadingOne",
});

const layer = "model.layers.{layer}.";

/** Number of the last layer that may have experts. */
function lastSparse(config: ConfigReader): number {
  const last = config.number("moe_layer_end_index");
  return last === -1 ? config.count("num_hidden_layers") - 1 : last;
}

/** ERNIE 4.5 (technical report, 2025): neighbours are rotated together, and some layers are dense. */
export const ernie45Moe: Family = {
  modelType: "ernie4_5_moe",
  defaults: {
    ...llamaDefaults,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_size: 2560,
    intermediate_size: 12288,
    max_position_embeddings: 131072,
    moe_intermediate_size: 1536,
    moe_k: 6,
    moe_layer_end_index: -1,
    moe_layer_interval: 1,
    moe_layer_start_index: 1,
    moe_norm_min: 1e-12,
    moe_num_experts: 64,
    moe_num_shared_experts: 2,
    num_attention_heads: 20,
    num_hidden_layers: 28,
    num_key_value_heads: 4,
    pad_token_id: 0,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    router_aux_loss_coef: 0.001,
    tie_word_embeddings: true,
    use_bias: false,
    vocab_size: 103424,
  },
  block: {
    moe(config) {
      const size = config.count("moe_intermediate_size");
      const branch = sharedExperts(config, "moe_num_shared_experts", size);
      const bias = config.flag("use_bias");
      // From release 5 on the experts are fused without biases; the shared one keeps them.
      const ofExperts = bias && (config.release() ?? 5) < 5;
      return {
        router: {
          spec: {
            experts: config.count("moe_num_experts"),
            topK: config.count("moe_k"),
            score: "softmax",
            bias: true,
            renormalize: { epsilon: config.number("moe_norm_min"), guard: "max" },
          },
        },
        expert: { ...gatedFfn(config, size), bias: ofExperts },
        shared: branch && { ...branch, bias },
      };
    },
    losses: pooledBalance,
    tensors,
    fused,
    prefix: `${layer}mlp.`,
  },
  decoder: {
    ...llamaDecoder,
    architecture: "Ernie4_5_MoeForCausalLM",
    // Its code has no dropout, whatever a file says.
    attention: (config) => ({
      ...grouped(config, { headNorm: "none", ...biases(config, "use_bias"), dropout: 0 }),
      ropeInterleaved: true,
    }),
    norms: (config) => ({ headBias: config.flag("use_bias") }),
    sparse: (config, index) =>
      (index + 1) % config.count("moe_layer_interval") === 0 &&
      index >= config.count("moe_layer_start_index", 0) &&
      index <= lastSparse(config),
    dense: (config) => ({ ...llamaDecoder.dense(config), bias: config.flag("use_bias") }),
    tensors: /*#__PURE__*/ llamaDecoder.tensors.concat(
      /*#__PURE__*/ biasesOf("layers.{layer}.dense", `${layer}mlp`),
    ),
    // Parts that predict tokens after the next.
    ignore: [...llamaDecoder.ignore, "model.mtp_{rest}"],
    floats: [...llamaDecoder.floats, "moe_norm_min"],
    spelledOut: (config) => ({ moe_layer_end_index: lastSparse(config) }),
  },
};
