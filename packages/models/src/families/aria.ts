import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { sharedExperts } from "./deepseek.ts";
import { sharedTensors } from "./rule-list.ts";

const routed: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.weight"] },
  { path: "experts.gateUp", names: ["experts.fc1.weight"] },
  { path: "experts.down", names: ["experts.fc2.weight"] },
];

/** Aria (arXiv 2410.05993); the block of its language model. */
export const aria: Family = {
  modelType: "aria",
  section: "text_config",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 4096,
    moe_num_experts: 8,
    moe_num_shared_experts: 2,
    moe_topk: 2,
  },
  block: {
    supported: { mlp_bias: [false] },
    moe: (config) => {
      const intermediateSize = config.count("intermediate_size");
      return {
        router: {
          spec: {
            experts: config.count("moe_num_experts"),
            topK: config.count("moe_topk"),
            score: "softmax",
            selectBy: "logits",
            weight: "softmaxOfChosen",
          },
        },
        // Whatever `hidden_act` says: only the shared expert follows it.
        expert: { intermediateSize, activation: "silu", gated: true, transposed: true },
        shared: sharedExperts(config, "moe_num_shared_experts", intermediateSize),
      };
    },
    losses: () => [],
    tensors: /*#__PURE__*/ routed.concat(/*#__PURE__*/ sharedTensors("shared_experts")),
    prefix: "language_model.model.layers.{layer}.mlp.",
  },
};
