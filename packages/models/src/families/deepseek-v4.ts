import type { ConfigReader } from "../config-reader.ts";
import type { RouterConfig } from "../decoder/config.ts";
import type { Family } from "../family.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { sharedTensors, withRules } from "./rule-list.ts";

const SCORES = { sqrtsoftplus: "sqrtSoftplus", softmax: "softmax", sigmoid: "sigmoid" } as const;

const tensors = /*#__PURE__*/ withRules(/*#__PURE__*/ expertTensors("w1", "w3", "w2"), [
  { path: "state.router.selectionBias", names: ["gate.bias"] },
  { path: "state.router.table", names: ["gate.tid2eid"] },
  { path: "shared.ffn.gateUp", names: ["shared_experts.w1.weight", "shared_experts.w3.weight"] },
  { path: "shared.ffn.down", names: ["shared_experts.w2.weight"] },
]);

const fused = /*#__PURE__*/ fusedExperts.concat(
  { path: "state.router.selectionBias", names: ["gate.e_score_correction_bias"] },
  /*#__PURE__*/ sharedTensors("shared_experts"),
);

/** Choice by score + bias; in the first layers by a table of token ids. */
function routerOf(config: ConfigReader, layer: number): RouterConfig {
  const [scoringFunc, experts, topK, scale] = [
    SCORES[config.choice("scoring_func", ["sqrtsoftplus", "softmax", "sigmoid"])],
    config.count("n_routed_experts"),
    config.count("num_experts_per_tok"),
    config.number("routed_scaling_factor"),
  ];
  const byCount = layer < config.count("num_hash_layers", 0) ? "hash_moe" : "moe";
  const type = config.wordAt("mlp_layer_type", layer) ?? config.wordAt("mlp_layer_types", layer);
  if ((type ?? byCount) === "hash_moe") {
    return {
      kind: "deepseekV4Hash",
      nRoutedExperts: experts,
      numExpertsPerTok: topK,
      vocabSize: config.count("vocab_size"),
      scoringFunc,
      routedScalingFactor: scale,
    };
  }
  const renormalize = { epsilon: 1e-20 };
  return { spec: { experts, topK, score: scoringFunc, bias: true, renormalize, scale } };
}

/** DeepSeek-V4; its block. */
export const deepseekV4: Family = {
  modelType: "deepseek_v4",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 2048,
    n_routed_experts: 256,
    num_experts_per_tok: 6,
    num_hash_layers: 3,
    routed_scaling_factor: 1.5,
    router_aux_loss_coef: 0.001,
    scoring_func: "sqrtsoftplus",
    swiglu_limit: 10,
    vocab_size: 129280,
  },
  block: {
    supported: { mlp_bias: [false], n_shared_experts: [1], norm_topk_prob: [true] },
    moe(config, layer) {
      const gated = gatedFfn(config, config.count("moe_intermediate_size"));
      const ffn = { ...gated, clamp: { limit: config.number("swiglu_limit") } };
      return {
        router: routerOf(config, layer),
        expert: ffn,
        shared: { ...ffn, merge: "add" },
      };
    },
    losses: pooledBalance,
    tensors,
    fused,
    prefix: "layers.{layer}.ffn.",
  },
};
