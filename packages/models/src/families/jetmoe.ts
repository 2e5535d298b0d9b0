import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { balanceLoss } from "./experts.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.layer.weight"] },
  { path: "experts.bank.gateUp", names: ["input_linear.weight"] },
  { path: "experts.bank.down", names: ["output_linear.weight"] },
  { path: "experts.bias", names: ["bias"] },
];

/** JetMoE (arXiv 2404.07413); the block of its feed-forward experts. */
export const jetmoe: Family = {
  modelType: "jetmoe",
  defaults: {
    activation_function: "silu",
    aux_loss_coef: 0.01,
    hidden_size: 2048,
    initializer_range: 0.01,
    intermediate_size: 5632,
    num_experts_per_tok: 2,
    num_local_experts: 8,
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
      },
      expert: {
        intermediateSize: config.count("intermediate_size"),
        activation: config.activation("activation_function"),
        gated: true,
      },
      around: [{ kind: "outputBias" }],
    }),
    losses: (config) => balanceLoss(config, "huggingFaceBalance", "aux_loss_coef"),
    tensors,
    prefix: "model.layers.{layer}.mlp.",
  },
};
