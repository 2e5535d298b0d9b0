import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "./family.ts";

const STATE = "state.";

/** Where a block's leaves stand in the block's own state dict. */
export function blockRules(family: Family): readonly TensorRule[] {
  return family.block.tensors;
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
