import {
  type Choice,
  ConfigError,
  type RouteAttributes,
  type Tensor,
  and,
  greaterEqual,
  less,
  select,
} from "@moiety/core";
import { weighPresent } from "./absent.ts";

/** A stretch of experts that give nothing. */
export interface ZeroExperts {
  /** The first of them. */
  readonly first: number;
  /** How many. */
  readonly count: number;
}

/**
 * A weight stage that gives zero experts weight 0 before it renormalises, so that the others share
 * what a zero expert would have got (MoE++). Where all choices are zero experts, all weights are 0.
 * @throws ConfigError
 */
export function zeroAwareWeights(
  { first, count }: ZeroExperts,
  experts: number,
): (choice: Choice, spec: RouteAttributes) => Tensor {
  const whole = Number.isSafeInteger(first) && Number.isSafeInteger(count);
  if (!whole || first < 0 || count < 0 || first + count > experts) {
    throw new ConfigError(
      `router: the zero experts are ${count} from ${first} on, but must be among ${experts}`,
      "zeroExperts",
      { first, count },
    );
  }
  return ({ logits, scores, indices }, spec) => {
    const zero = and(greaterEqual(indices, first), less(indices, first + count));
    return weighPresent({ logits, scores, indices: select(zero, experts, indices) }, spec);
  };
}
