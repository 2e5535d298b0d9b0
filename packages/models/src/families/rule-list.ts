import type { TensorRule } from "@moiety/checkpoints";

/** Rules, with others in the place of those that have the same paths, or beside them. */
export function withRules(
  rules: readonly TensorRule[],
  others: readonly TensorRule[],
): readonly TensorRule[] {
  const replaced = new Set(others.map(({ path }) => path));
  return rules.filter(({ path }) => !replaced.has(path)).concat(others);
}

/** A gated network beside the experts, its projections under their usual names. */
export function sharedTensors(name: string): readonly TensorRule[] {
  return [
    { path: "shared.ffn.gateUp", names: [`${name}.gate_proj.weight`, `${name}.up_proj.weight`] },
    { path: "shared.ffn.down", names: [`${name}.down_proj.weight`] },
  ];
}

/** The router's weight and the bias of its choice. */
export function routerTensors(weight: string, bias: string): readonly TensorRule[] {
  return [
    { path: "router.weight", names: [weight] },
    { path: "state.router.selectionBias", names: [bias] },
  ];
}
