import {
  type Assigned,
  type CapacitySpec,
  ConfigError,
  type RandomKey,
  type RouteContext,
  type Tensor,
  and,
  applyCapacity,
  minimum,
  takeAlong,
} from "@moiety/core";

/** A capacity whose size is computed from the number of tokens, for rules that are no plain factor. */
export interface CapacityRule {
  /** Places per expert for a group of so many tokens. */
  readonly places: (tokens: number) => number;
  readonly per: CapacitySpec["per"];
  readonly order: CapacitySpec["order"];
  /**
   * What `probability` and `prioritized` go by: the weights (the default), or the scores, where
   * weights are renormalised before capacity and the source ranks before that.
   */
  readonly rankBy?: "weights" | "scores" | undefined;
}

/**
 * A capacity stage by a rule: as `applyCapacity`, with the places that the rule gives for each group's
 * length. Random order draws from `key`.
 * @throws ConfigError where a rule gives no whole number from 0
 */
export function capacityStage(
  rule: CapacityRule,
  experts: number,
  context: RouteContext,
  key?: RandomKey,
): (assigned: Assigned) => Tensor {
  const { per, order, places, rankBy = "weights" } = rule;
  return ({ indices, weights, scores }) => {
    const ranks = rankBy === "weights" ? weights : takeAlong(scores, indices, { axis: 1 });
    const [tokens = 0] = indices.shape;
    const sequences = per === "sequence" ? (context.sequences ?? [0, tokens]) : [0, tokens];
    const sizes = sequences.slice(1).map((end, index) => {
      const length = end - (sequences[index] ?? 0);
      return { length, absolute: requirePlaces(places(length), length) };
    });
    const distinct = [...new Set(sizes.map(({ absolute }) => absolute))];
    const kept = distinct.map((absolute) => {
      const inside = sizes.flatMap((size) =>
        new Array<boolean>(size.length).fill(size.absolute === absolute),
      );
      // Sequences of another size count as padding here, and get their turn by themselves.
      const mask = distinct.length === 1 ? context.mask : maskOf(inside, indices, context.mask);
      const spec: CapacitySpec = { size: { absolute }, per, order };
      return applyCapacity(spec, indices, ranks, experts, { ...context, mask, key });
    });
    // No expert is the highest index, so whoever has a place in its own turn keeps it.
    return kept.length === 0 ? indices : kept.reduce((a, b) => minimum(a, b));
  };
}

function maskOf(inside: readonly boolean[], like: Tensor, mask: Tensor | undefined): Tensor {
  const own = like.backend.tensor([...inside], { shape: [inside.length], dtype: "bool" });
  return mask ? and(own, mask) : own;
}

function requirePlaces(places: number, tokens: number): number {
  if (Number.isSafeInteger(places) && places >= 0) return places;
  throw new ConfigError(
    `the capacity rule gives ${String(places)} places for ${tokens} tokens, but must give a whole number from 0`,
    "capacity.places",
    places,
  );
}
