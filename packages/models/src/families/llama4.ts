import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { gatedFfn } from "./llama.ts";
import { sharedTensors } from "./rule-list.ts";

const routed: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.weight"] },
  { path: "experts.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.down", names: ["experts.down_proj"] },
];

/** Llama 4 (Meta, 2025); the block of its language model: weights multiply the experts' inputs. */
export const llama4: Family = {
  modelType: "llama4",
  section: "text_config",
  defaults: {
    hidden_act: "silu",
    hidden_size: 5120,
    initializer_range: 0.02,
    intermediate_size: 8192,
    num_experts_per_tok: 1,
    num_local_experts: 16,
  },
  block: {
    moe(config) {
      const ffn = gatedFfn(config, config.count("intermediate_size"));
      return {
        router: {
          spec: {
            experts: config.count("num_local_experts"),
            topK: config.count("num_experts_per_tok"),
            score: "sigmoid",
            selectBy: "logits",
            site: "input",
          },
        },
        expert: { ...ffn, transposed: true },
        shared: { ...ffn, merge: "add" },
      };
    },
    losses: () => [],
    tensors: /*#__PURE__*/ routed.concat(/*#__PURE__*/ sharedTensors("shared_expert")),
    prefix: "language_model.model.layers.{layer}.feed_forward.",
  },
};
