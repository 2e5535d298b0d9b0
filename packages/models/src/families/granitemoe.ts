import type { JsonObject, TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { MoeConfig } from "../decoder/config.ts";
import type { Family } from "../family.ts";
import { pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

/** What the configuration classes of Granite's models assume. */
export const graniteDefaults: JsonObject = {
  hidden_act: "silu",
  hidden_size: 4096,
  initializer_range: 0.02,
  intermediate_size: 11008,
  num_experts_per_tok: 2,
  num_local_experts: 8,
  router_aux_loss_coef: 0.001,
};

/** The k best logits with a softmax over them as weights; gated experts. */
export function graniteMoe(config: ConfigReader): MoeConfig {
  return {
    router: {
      spec: {
        experts: config.count("num_local_experts"),
        topK: config.count("num_experts_per_tok"),
        score: "softmax",
        selectBy: "logits",
        weight: "softmaxOfChosen",
      },
    },
    expert: gatedFfn(config, config.count("intermediate_size")),
  };
}

/** Tensors of a block whose names begin with `prefix`. */
export function graniteTensors(prefix: string): readonly TensorRule[] {
  return [
    { path: "router.weight", names: [`${prefix}router.layer.weight`] },
    { path: "experts.gateUp", names: [`${prefix}input_linear.weight`] },
    { path: "experts.down", names: [`${prefix}output_linear.weight`] },
  ];
}

/** What release 5 calls them in memory. */
export function graniteFused(prefix: string): readonly TensorRule[] {
  return [
    { path: "router.weight", names: [`${prefix}router.weight`] },
    { path: "experts.gateUp", names: [`${prefix}experts.gate_up_proj`] },
    { path: "experts.down", names: [`${prefix}experts.down_proj`] },
  ];
}

/** Granite 3 MoE (IBM, 2024); its block. */
export const granitemoe: Family = {
  modelType: "granitemoe",
  defaults: graniteDefaults,
  block: {
    moe: graniteMoe,
    losses: pooledBalance,
    tensors: /*#__PURE__*/ graniteTensors(""),
    fused: /*#__PURE__*/ graniteFused(""),
    prefix: "model.layers.{layer}.block_sparse_moe.",
  },
};
