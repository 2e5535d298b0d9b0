import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "./family.ts";

const STATE = "state.";

/**
 * Where a block's leaves stand in the block's own state dict: under the names of checkpoints, or
 * with `fused` under those that transformers 5 has in memory.
 */
export function blockRules({ block }: Family, fused = false): readonly TensorRule[] {
  const { tensors, fused: others = [] } = block;
  if (!fused) return tensors;
  const replaced = new Set(others.map(({ path }) => path));
  return [...tensors.filter(({ path }) => !replaced.has(path)), ...others];
}

/**
 * Where every leaf of a family's models stands in a checkpoint. Paths are those of the parameters,
 * and `state.…` those of the state.
 */
export function modelRules(family: Family): readonly TensorRule[] {
  const { tensors, prefix } = family.block;
  const inLayer = tensors.map((rule) => ({
    ...rule,
    path: rule.path.startsWith(STATE)
      ? `${STATE}layers.{layer}.moe.${rule.path.slice(STATE.length)}`
      : `layers.{layer}.moe.${rule.path}`,
    names: rule.names.map((name) => prefix + name),
  }));
  return [...(family.decoder?.tensors ?? []), ...inLayer];
}
