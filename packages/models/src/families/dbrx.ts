import type { TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { Family, FamilyLoss } from "../family.ts";

const stacked = { stacked: true, axes: "joined" } as const;

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.layer.weight"] },
  { path: "experts.gateUp", names: ["experts.mlp.w1", "experts.mlp.v1"], ...stacked },
  { path: "experts.down", names: ["experts.mlp.w2"], ...stacked, transpose: true },
];

/** Pooled over layers like that of others, but of the router's own scores. */
function losses(config: ConfigReader): readonly FamilyLoss[] {
  const coefficient = config.nested("ffn_config").number("moe_loss_weight");
  return [{ name: "load_balancing_loss", kind: "huggingFaceBalance", from: "scores", coefficient }];
}

/** DBRX (Databricks, 2024); its block: weights divided by their p-norm, all experts in one matrix. */
export const dbrx: Family = {
  modelType: "dbrx",
  defaults: {
    d_model: 2048,
    ffn_config: {
      ffn_act_fn: { name: "silu" },
      ffn_hidden_size: 3584,
      moe_jitter_eps: null,
      moe_loss_weight: 0.01,
      moe_normalize_expert_weights: 1,
      moe_num_experts: 4,
      moe_top_k: 1,
    },
    initializer_range: 0.02,
  },
  block: {
    width: "d_model",
    moe(config) {
      const ffn = config.nested("ffn_config");
      const p = ffn.numberIfAny("moe_normalize_expert_weights");
      return {
        router: {
          spec: {
            experts: ffn.count("moe_num_experts"),
            topK: ffn.count("moe_top_k"),
            score: "softmax",
            renormalize: p === undefined ? undefined : { p },
          },
          jitter: ffn.numberIfAny("moe_jitter_eps"),
        },
        expert: {
          intermediateSize: ffn.count("ffn_hidden_size"),
          activation: ffn.nested("ffn_act_fn").activation("name"),
          gated: true,
        },
      };
    },
    losses,
    tensors,
    prefix: "transformer.blocks.{layer}.ffn.",
  },
};
