import {
  type Assigned,
  ConfigError,
  type RouteContext,
  type Tensor,
  gatherRows,
  groupRows,
  less,
  select,
  sub,
} from "@moiety/core";

/** Places that differ between costly and free experts (MoE++). */
export interface HeterogeneousCapacity {
  /** γ: places over all experts, as a factor of the T·k assignments. */
  readonly factor: number;
  /** τ: how many tokens an FFN takes for each that a zero-computation expert takes. */
  readonly ratio: number;
  /** The experts from this one on are zero-computation experts. */
  readonly firstZeroComputation: number;
}

/**
 * Places of each expert for `assignments` = T·k: `⌈γ · τ · T·k / (τ · N_F + N_Z)⌉` of an FFN,
 * `⌈γ · T·k / (τ · N_F + N_Z)⌉` of a zero-computation expert.
 *
 * Paper: Jin et al., "MoE++" (2024), heterogeneous expert capacity.
 * @throws ConfigError
 */
export function heterogeneousPlaces(
  capacity: HeterogeneousCapacity,
  assignments: number,
  experts: number,
): number[] {
  checkHeterogeneousCapacity(capacity, experts);
  const { factor, ratio, firstZeroComputation: networks } = capacity;
  const share = (factor * assignments) / (ratio * networks + (experts - networks));
  return Array.from({ length: experts }, (_, expert) =>
    Math.ceil(expert < networks ? share * ratio : share),
  );
}

/** Refuses a capacity that makes no sense, naming the key. @throws ConfigError */
export function checkHeterogeneousCapacity(
  { factor, ratio, firstZeroComputation }: HeterogeneousCapacity,
  experts: number,
): void {
  const demand = (key: string, value: number, holds: boolean, wanted: string): void => {
    if (holds) return;
    throw new ConfigError(`router: capacity.${key} is ${value}, but must be ${wanted}`, key, value);
  };
  const finite = "a finite number from 0";
  demand("factor", factor, factor >= 0 && Number.isFinite(factor), finite);
  demand("ratio", ratio, ratio > 0 && Number.isFinite(ratio), "a finite number above 0");
  const within =
    Number.isSafeInteger(firstZeroComputation) &&
    firstZeroComputation >= 0 &&
    firstZeroComputation <= experts;
  demand("firstZeroComputation", firstZeroComputation, within, `from 0 to ${experts}`);
}

/**
 * The capacity stage of {@link heterogeneousPlaces}: over the batch, token by token. Masked tokens
 * take no places and are dropped.
 */
export function applyHeterogeneousCapacity(
  capacity: HeterogeneousCapacity,
  { indices, logits }: Assigned,
  { mask }: RouteContext,
): Tensor {
  const [tokens = 0, k = 0] = indices.shape;
  const experts = logits.shape[1] ?? 0;
  const assignments = tokens * k;
  const places = heterogeneousPlaces(capacity, assignments, experts);
  if (assignments === 0) return indices;
  const routed = mask ? select(mask.reshape([tokens, 1]), indices, experts) : indices;
  const flat = routed.reshape([assignments]);
  const [, row, offsets] = groupRows(flat, { groups: experts });
  const rank = sub(row, gatherRows(offsets, flat));
  const limits = places.map((count) => Math.min(count, assignments));
  const kept = less(rank, gatherRows(flat.backend.tensor(Int32Array.from(limits)), flat));
  return select(kept, flat, experts).reshape([tokens, k]);
}
