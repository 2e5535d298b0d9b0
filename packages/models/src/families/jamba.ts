import { qwenMoeSpec } from "@moiety/routers";
import type { Family } from "../family.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** Jamba (arXiv 2403.19887); its block. Weights are never renormalised. */
export const jamba: Family = {
  modelType: "jamba",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 14336,
    num_experts: 16,
    num_experts_per_tok: 2,
    router_aux_loss_coef: 0.001,
  },
  block: {
    moe: (config) => ({
      router: {
        spec: qwenMoeSpec({
          numExperts: config.count("num_experts"),
          numExpertsPerTok: config.count("num_experts_per_tok"),
        }),
      },
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
    losses: pooledBalance,
    tensors: /*#__PURE__*/ withRules(
      /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj"),
      [{ path: "router.weight", names: ["router.weight"] }],
    ),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.feed_forward.",
  },
};
