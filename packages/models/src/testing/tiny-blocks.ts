import type { JsonObject, JsonValue } from "@moiety/checkpoints";
import { familyOf } from "../families/index.ts";

/** Sizes by the ends of their keys, with what they are made. Scales, flags and names stay. */
const sizes: readonly (readonly [key: RegExp, size: number])[] = [
  [/^(hidden_size|d_model)$/, 8],
  [/(intermediate_size|hidden_dim|_dim|d_ff|ffn_hidden_size|latent_size|_dims)$/, 4],
  [/shared_experts?$/, 1],
  [/^zero_expert_num$/, 2],
  [/(num_experts|routed_experts|local_experts|moe_num_experts)$/, 8],
  [/(experts_per_tok(en)?|moe_k|moe_topk|top_k|top_k_experts)$/, 2],
];

/** Keys that a few families' configuration classes leave open, or that want other sizes. */
const needed: Readonly<Record<string, JsonObject>> = {
  deepseek_v2: { num_experts_per_tok: 2 },
  doge: { num_experts: 16 },
  dots1: { n_routed_experts: 8, n_shared_experts: 1, num_experts_per_tok: 2 },
  gemma4: { moe_intermediate_size: 4, num_experts: 8, top_k_experts: 2 },
};

/** A family's configuration with small sizes. */
export function tinyBlocks(name: string): JsonObject {
  return { ...shrink(familyOf(name).defaults), ...needed[name] };
}

function shrink(values: JsonObject): JsonObject {
  const shrunk = Object.entries(values).map(([key, value]): [string, JsonValue] => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return [key, shrink(value as JsonObject)];
    }
    const size = sizes.find(([pattern]) => pattern.test(key))?.[1];
    const isSize = typeof value === "number" && size !== undefined;
    return [key, isSize ? Math.min(value, size) : value];
  });
  return Object.fromEntries(shrunk);
}
