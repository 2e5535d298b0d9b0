import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { pooledBalance } from "./experts.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.weight"] },
  { path: "router.bias", names: ["router.bias"] },
  { path: "experts.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.gateUpBias", names: ["experts.gate_up_proj_bias"] },
  { path: "experts.down", names: ["experts.down_proj"] },
  { path: "experts.downBias", names: ["experts.down_proj_bias"] },
];

/** gpt-oss (arXiv 2508.10925); its block, with weights in floats: released files hold them in MXFP4. */
export const gptOss: Family = {
  modelType: "gpt_oss",
  defaults: {
    alpha: 1.702,
    hidden_size: 2880,
    initializer_range: 0.02,
    intermediate_size: 2880,
    num_experts_per_tok: 4,
    num_local_experts: 128,
    router_aux_loss_coef: 0.9,
    swiglu_limit: 7,
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
      expert: {
        intermediateSize: config.count("intermediate_size"),
        activation: "silu",
        alpha: config.number("alpha"),
        gated: true,
        layout: { packing: "interleaved", first: "gate" },
        clamp: { limit: config.number("swiglu_limit") },
        upOffset: 1,
        bias: true,
        transposed: true,
      },
    }),
    losses: pooledBalance,
    tensors,
    prefix: "model.layers.{layer}.mlp.",
  },
};
