import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { sharedExperts } from "./deepseek.ts";
import { expertTensors, fusedExperts, pooledBalance } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { withRules } from "./rule-list.ts";

const BIAS = "moe_statics.e_score_correction_bias";

const biasesOf = (path: string, prefix: string): TensorRule[] => [
  { path: `${path}.gateUpBias`, names: [`${prefix}.gate_proj.bias`, `${prefix}.up_proj.bias`] },
  { path: `${path}.downBias`, names: [`${prefix}.down_proj.bias`] },
];

const tensors = /*#__PURE__*/ withRules(
  /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_experts"),
  /*#__PURE__*/ biasesOf("experts", "experts.{expert}").concat(
    /*#__PURE__*/ biasesOf("shared.ffn", "shared_experts"),
    { path: "state.router.selectionBias", names: [BIAS], axes: "leadingOne" },
  ),
);

const fused = /*#__PURE__*/ fusedExperts.concat({
  path: "state.router.selectionBias",
  names: [`gate.${BIAS}`],
  axes: "leadingOne",
});

/** ERNIE 4.5 (technical report, 2025); its block. */
export const ernie45Moe: Family = {
  modelType: "ernie4_5_moe",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2560,
    initializer_range: 0.02,
    moe_intermediate_size: 1536,
    moe_k: 6,
    moe_norm_min: 1e-12,
    moe_num_experts: 64,
    moe_num_shared_experts: 2,
    router_aux_loss_coef: 0.001,
    use_bias: false,
  },
  block: {
    moe(config) {
      const size = config.count("moe_intermediate_size");
      const branch = sharedExperts(config, "moe_num_shared_experts", size);
      const bias = config.flag("use_bias");
      // From release 5 on the experts are fused without biases; the shared one keeps them.
      const ofExperts = bias && (config.release() ?? 5) < 5;
      return {
        router: {
          spec: {
            experts: config.count("moe_num_experts"),
            topK: config.count("moe_k"),
            score: "softmax",
            bias: true,
            renormalize: { epsilon: config.number("moe_norm_min"), guard: "max" },
          },
        },
        expert: { ...gatedFfn(config, size), bias: ofExperts },
        shared: branch && { ...branch, bias },
      };
    },
    losses: pooledBalance,
    tensors,
    fused,
    prefix: "model.layers.{layer}.mlp.",
  },
};
