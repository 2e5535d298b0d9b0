import type { JsonObject, TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { MoeConfig } from "../decoder/config.ts";
import type { Family, FamilyBlock } from "../family.ts";
import { balanceLoss } from "./experts.ts";

const tensors: readonly TensorRule[] = [
  { path: "router.weight", names: ["gate.weight"] },
  { path: "experts.up", names: ["experts.{expert}.wi.weight"] },
  { path: "experts.down", names: ["experts.{expert}.wo.weight"] },
];

/** Top-2 with places in each sequence, plain experts. */
function gshardMoe(config: ConfigReader): MoeConfig {
  return {
    router: {
      kind: "gshard",
      numExperts: config.count("num_experts"),
      capacityFactor: config.number("capacity_factor"),
      secondExpertPolicy: config.choice("second_expert_policy", ["all", "random"]),
    },
    expert: {
      intermediateSize: config.count("d_ff"),
      activation: config.activation("activation_function"),
      gated: false,
    },
  };
}

/** What models have in common that are known by their papers alone: names of keys and tensors are ours. */
export const gshardBlock: FamilyBlock = {
  width: "d_model",
  moe: gshardMoe,
  losses: (config) => balanceLoss(config, "gshardBalance"),
  tensors,
  prefix: "layers.{layer}.moe.",
};

const defaults: JsonObject = {
  activation_function: "relu",
  capacity_factor: 1,
  d_ff: 8192,
  d_model: 1024,
  initializer_range: 0.02,
  num_experts: 2048,
  router_aux_loss_coef: 0.01,
  second_expert_policy: "random",
};

/** GShard's translation model (arXiv 2006.16668), the largest; its block. Nothing of it is published. */
export const gshard: Family = { modelType: "gshard", defaults, block: gshardBlock };
