import type { TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "../config-reader.ts";
import type { FamilyLoss } from "../family.ts";

/** A router and gated experts, each under its own name. */
export function expertTensors(gate: string, up: string, down: string): readonly TensorRule[] {
  const ofExpert = (name: string): string => `experts.{expert}.${name}.weight`;
  return [
    { path: "router.weight", names: ["gate.weight"] },
    { path: "state.router.selectionBias", names: ["gate.e_score_correction_bias"] },
    { path: "experts.gateUp", names: [ofExpert(gate), ofExpert(up)] },
    { path: "experts.down", names: [ofExpert(down)] },
  ];
}

/** A gated shared expert under a name such as `shared_expert`, with its gate where it has one. */
export function sharedTensors(name: string): readonly TensorRule[] {
  const projections = [`${name}.gate_proj.weight`, `${name}.up_proj.weight`];
  return [
    { path: "shared.ffn.gateUp", names: projections },
    { path: "shared.ffn.down", names: [`${name}.down_proj.weight`] },
    { path: "shared.gate", names: [`${name}_gate.weight`] },
  ];
}

/** The balance loss that most families have: pooled over layers, k when balanced. */
export function pooledBalance(config: ConfigReader): readonly FamilyLoss[] {
  const coefficient = config.number("router_aux_loss_coef");
  return [{ name: "load_balancing_loss", kind: "huggingFaceBalance", coefficient }];
}
