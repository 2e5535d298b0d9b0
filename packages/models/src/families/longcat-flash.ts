import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { gatedFfn } from "./llama.ts";

const ofExpert = "experts.{expert}.";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["router.classifier.weight"] },
  { path: "state.router.selectionBias", names: ["router.e_score_correction_bias"] },
  {
    path: "experts.bank.gateUp",
    names: [`${ofExpert}gate_proj.weight`, `${ofExpert}up_proj.weight`],
  },
  { path: "experts.bank.down", names: [`${ofExpert}down_proj.weight`] },
];

/**
 * LongCat-Flash (arXiv 2509.01322); its block, with zero-computation experts. Tensors under
 * the names of checkpoints: in its memory transformers 5 has weights for those experts, too.
 */
export const longcatFlash: Family = {
  modelType: "longcat_flash",
  defaults: {
    expert_ffn_hidden_size: 2048,
    hidden_act: "silu",
    hidden_size: 6144,
    initializer_range: 0.02,
    moe_topk: 12,
    n_routed_experts: 512,
    routed_scaling_factor: 6,
    zero_expert_num: 256,
  },
  block: {
    supported: { router_bias: [false], zero_expert_type: ["identity"] },
    moe(config) {
      const count = config.count("zero_expert_num");
      return {
        router: {
          spec: {
            experts: config.count("n_routed_experts") + count,
            topK: config.count("moe_topk"),
            score: "softmax",
            bias: true,
            scale: config.number("routed_scaling_factor"),
          },
        },
        expert: gatedFfn(config, config.count("expert_ffn_hidden_size")),
        around: [{ kind: "special", experts: [{ kind: "identity", count }] }],
      };
    },
    losses: () => [],
    tensors,
    prefix: "model.layers.{layer}.mlp.",
  },
};
