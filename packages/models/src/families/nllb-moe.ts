import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { balanceLoss } from "./experts.ts";

const ofExpert = "experts.expert_{expert}.";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.classifier.weight"] },
  { path: "router.bias", names: ["router.classifier.bias"] },
  { path: "experts.up", names: [`${ofExpert}fc1.weight`] },
  { path: "experts.upBias", names: [`${ofExpert}fc1.bias`] },
  { path: "experts.down", names: [`${ofExpert}fc2.weight`] },
  { path: "experts.downBias", names: [`${ofExpert}fc2.bias`] },
];

/**
 * NLLB-MoE (arXiv 2207.04672); its block as transformers 4 computes it. Outputs have the factor of
 * evaluation, 1 − `moe_token_dropout`; the dropout of training is not built.
 */
export const nllbMoe: Family = {
  modelType: "nllb_moe",
  aliases: { encoder_ffn_dim: "ffn_dim", init_std: "initializer_range" },
  defaults: {
    activation_function: "relu",
    batch_prioritized_routing: false,
    d_model: 1024,
    expert_capacity: 64,
    ffn_dim: 4096,
    moe_eval_capacity_token_fraction: 1,
    moe_token_dropout: 0.2,
    normalize_router_prob_before_dropping: false,
    num_experts: 128,
    router_aux_loss_coef: 0.001,
    router_bias: false,
    second_expert_policy: "all",
  },
  block: {
    width: "d_model",
    supported: { router_ignore_padding_tokens: [false] },
    moe: (config) => ({
      router: {
        kind: "nllb",
        numExperts: config.count("num_experts"),
        expertCapacity: config.countIfAny("expert_capacity") ?? null,
        secondExpertPolicy: config.choice("second_expert_policy", ["all", "random", "sampling"]),
        normalizeRouterProbBeforeDropping: config.flag("normalize_router_prob_before_dropping"),
        batchPrioritizedRouting: config.flag("batch_prioritized_routing"),
        moeEvalCapacityTokenFraction: config.number("moe_eval_capacity_token_fraction"),
        routerBias: config.flag("router_bias"),
      },
      expert: {
        intermediateSize: config.count("ffn_dim"),
        activation: config.activation("activation_function"),
        gated: false,
        bias: true,
      },
      around: [{ kind: "factor", factor: 1 - config.number("moe_token_dropout") }],
    }),
    losses: (config) => balanceLoss(config, "nllbBalance"),
    tensors,
    prefix: "model.encoder.layers.{layer}.ffn.",
  },
};
