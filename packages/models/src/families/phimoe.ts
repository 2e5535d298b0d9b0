import type { Family } from "../family.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** Phi-3.5-MoE (arXiv 2404.14219); its block, routed by SparseMixer-v2. */
export const phimoe: Family = {
  modelType: "phimoe",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    input_jitter_noise: 0,
    intermediate_size: 6400,
    num_experts_per_tok: 2,
    num_local_experts: 16,
    router_aux_loss_coef: 0.001,
    router_jitter_noise: 0.01,
  },
  block: {
    supported: { num_experts_per_tok: [2] },
    moe: (config) => ({
      router: {
        kind: "sparseMixer",
        numLocalExperts: config.count("num_local_experts"),
        routerJitterNoise: config.number("router_jitter_noise"),
        inputJitterNoise: config.number("input_jitter_noise"),
      },
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
    losses: pooledBalance,
    tensors: /*#__PURE__*/ expertTensors("w1", "w3", "w2"),
    fused: /*#__PURE__*/ withRules(fusedExperts, [
      { path: "router.weight", names: ["router.weight"] },
    ]),
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
};
