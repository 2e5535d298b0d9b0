import type { GroupLimit } from "@moiety/core";
import { deepseekV3Spec } from "@moiety/routers";
import type { ConfigReader } from "../config-reader.ts";
import type { MoeConfig, RouterConfig } from "../decoder/config.ts";
import type { FamilyBlock } from "../family.ts";
import { expertTensors, fusedExperts } from "./experts.ts";
import { gatedFfn } from "./llama.ts";

/** Keys of a `config.json` by what they say; families name them in their own ways. */
const KEYS = {
  experts: "n_routed_experts",
  topK: "num_experts_per_tok",
  shared: "n_shared_experts",
  groups: "n_group",
  groupTopK: "topk_group",
  normalize: "norm_topk_prob",
  scale: "routed_scaling_factor",
} as const;

/** Other names of some keys. */
export type DeepseekKeys = { readonly [Key in keyof typeof KEYS]?: string };

/**
 * A layer like DeepSeek-V3's: sigmoid scores, choice by score + bias within the best groups, weights
 * divided by their sum + 1e-20 and scaled, n shared experts as one of n-fold width.
 */
export function deepseekMoe(
  config: ConfigReader,
  keys: DeepseekKeys = {},
  groupFill: GroupLimit["fill"] = "mask",
): MoeConfig {
  const router = deepseekRouter(config, keys, groupFill);
  return { router, ...deepseekExperts(config, keys.shared) };
}

/** The router of such a layer. */
export function deepseekRouter(
  config: ConfigReader,
  keys: DeepseekKeys = {},
  groupFill: GroupLimit["fill"] = "mask",
): RouterConfig {
  const key = { ...KEYS, ...keys };
  return {
    spec: deepseekV3Spec({
      nRoutedExperts: config.count(key.experts),
      numExpertsPerTok: config.count(key.topK),
      nGroup: config.count(key.groups),
      topkGroup: config.count(key.groupTopK),
      groupFill,
      normTopkProb: config.flag(key.normalize),
      routedScalingFactor: config.numberIfAny(key.scale) ?? 1,
    }),
  };
}

/** Gated experts of `moe_intermediate_size`, and as many shared ones as the key says. */
export function deepseekExperts(
  config: ConfigReader,
  sharedKey: string = KEYS.shared,
): Pick<MoeConfig, "expert" | "shared"> {
  const size = config.count("moe_intermediate_size");
  return { expert: gatedFfn(config, size), shared: sharedExperts(config, sharedKey, size) };
}

/** So many shared experts as a key says, as one that is as much wider; none where it is 0 or null. */
export function sharedExperts(
  config: ConfigReader,
  key: string,
  intermediateSize: number,
): MoeConfig["shared"] {
  const count = config.value(key) === null ? 0 : config.count(key, 0);
  if (count === 0) return undefined;
  return { ...gatedFfn(config, intermediateSize * count), merge: "add" };
}

/**
 * What experts outside the best groups get. Before release 5 they scored 0, which can beat a
 * negative biased score.
 */
export function groupFill(config: ConfigReader): GroupLimit["fill"] {
  return (config.release() ?? 5) < 5 ? "zero" : "mask";
}

/** What the blocks of such families have in common. */
export const deepseekBlock: Omit<FamilyBlock, "moe"> = {
  losses: () => [],
  tensors: /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_experts"),
  fused: fusedExperts,
  prefix: "model.layers.{layer}.mlp.",
};
