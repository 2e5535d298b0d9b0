import { mixtralSpec } from "@moiety/routers";
import type { Family } from "../family.ts";
import { expertTensors, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

/** Mixtral (arXiv 2401.04088); its block. */
export const mixtral: Family = {
  modelType: "mixtral",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 14336,
    num_experts_per_tok: 2,
    num_local_experts: 8,
    router_aux_loss_coef: 0.001,
    router_jitter_noise: 0,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: mixtralSpec({
          numLocalExperts: config.count("num_local_experts"),
          numExpertsPerTok: config.count("num_experts_per_tok"),
        }),
        jitter: config.number("router_jitter_noise"),
      },
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
    losses: pooledBalance,
    tensors: /*#__PURE__*/ expertTensors("w1", "w3", "w2"),
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
};
