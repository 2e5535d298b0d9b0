import type { TensorRule } from "@moiety/checkpoints";
import type { RouteSpec } from "@moiety/core";
import type { ConfigReader } from "../config-reader.ts";
import type { FamilyLoss } from "../family.ts";

/**
 * A router and gated experts, each under its own name; with a name such as `shared_expert` also that
 * expert and its gate.
 */
export function expertTensors(
  gate: string,
  up: string,
  down: string,
  shared?: string,
): readonly TensorRule[] {
  const ofExpert = (name: string): string => `experts.{expert}.${name}.weight`;
  const ofShared = (name: string): string => `${shared}.${name}.weight`;
  const routed = [
    { path: "router.weight", names: ["gate.weight"] },
    { path: "state.router.selectionBias", names: ["gate.e_score_correction_bias"] },
    { path: "experts.gateUp", names: [ofExpert(gate), ofExpert(up)] },
    { path: "experts.down", names: [ofExpert(down)] },
  ];
  if (shared === undefined) return routed;
  return [
    ...routed,
    { path: "shared.ffn.gateUp", names: [ofShared(gate), ofShared(up)] },
    { path: "shared.ffn.down", names: [ofShared(down)] },
    { path: "shared.gate", names: [`${shared}_gate.weight`] },
  ];
}

/** What transformers 5 calls gated experts in memory: `[E, 2I, H]` gate first, and `[E, H, I]`. */
export const fusedExperts: readonly TensorRule[] = [
  { path: "experts.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.down", names: ["experts.down_proj"] },
];

/** Sigmoid scores, chosen by score + bias and divided by their sum. */
export function biasedSigmoid(config: ConfigReader, experts: string): RouteSpec {
  return {
    experts: config.count(experts),
    topK: config.count("num_experts_per_tok"),
    score: "sigmoid",
    bias: true,
    renormalize: {},
  };
}

/** The balance loss that most families have: pooled over layers, k when balanced. */
export function pooledBalance(config: ConfigReader): readonly FamilyLoss[] {
  return balanceLoss(config, "huggingFaceBalance");
}

/** One balance loss, by the key of its coefficient. */
export function balanceLoss(
  config: ConfigReader,
  kind: "dogeBalance" | "gshardBalance" | "huggingFaceBalance" | "nllbBalance",
  key = "router_aux_loss_coef",
): readonly FamilyLoss[] {
  return [{ name: "load_balancing_loss", kind, coefficient: config.number(key) }];
}

/** The losses of Switch Transformer. */
export function switchLosses(config: ConfigReader): readonly FamilyLoss[] {
  const balance = config.number("router_aux_loss_coef");
  const size = config.number("router_z_loss_coef");
  return [
    { name: "load_balancing_loss", kind: "huggingFaceSwitchBalance", coefficient: balance },
    { name: "router_z_loss", kind: "zLoss", coefficient: size },
  ];
}
