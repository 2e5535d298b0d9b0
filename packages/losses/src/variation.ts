import {
  ConfigError,
  type Tensor,
  add,
  div,
  greater,
  mean,
  mul,
  select,
  square,
  sub,
  sum,
} from "@moiety/core";
import { requireOption } from "./options.ts";
import { type Target, targetTensor } from "./target.ts";

/** How a coefficient of variation is computed. */
export interface VariationOptions {
  /** Added to the squared mean. 1e-10 unless given (tensor2tensor); 0 in V-MoE. */
  readonly epsilon?: number | undefined;
  /**
   * `population` (the default): the mean square deviation. `sample`: its sum over E − 1 (FastMoE,
   * Tutel).
   */
  readonly variance?: "population" | "sample" | undefined;
}

/**
 * The squared coefficient of variation of `values [S, E]`: variance / (mean² + ε), `[S]`; 0 when even
 * (and for one expert). With a target q the values are divided by E·q_e and weighted by q_e, so that
 * it is 0 where they are in proportion to q.
 */
export function squaredVariation(
  name: string,
  values: Tensor,
  target: Target | undefined,
  { epsilon = 1e-10, variance = "population" }: VariationOptions,
): Tensor {
  const experts = values.shape.at(-1) ?? 0;
  const shares = targetTensor(name, target, experts, values);
  const even = shares ? div(values, mul(shares, experts)) : values;
  const average = (of: Tensor): Tensor =>
    shares ? sum(mul(of, shares), [-1], true) : mean(of, [-1], true);
  const centre = average(even);
  const spread = average(square(sub(even, centre)));
  const correction = variance === "sample" && experts > 1 ? experts / (experts - 1) : 1;
  const scaled = correction === 1 ? spread : mul(spread, correction);
  const scale = square(centre);
  // Without an ε, nothing at all (0/0) is even too.
  const whole = epsilon === 0 ? select(greater(scale, 0), scale, 1) : add(scale, epsilon);
  return div(scaled, whole).reshape([values.shape[0] ?? 0]);
}

/** Refuses options that make no sense. @throws ConfigError */
export function requireVariation(name: string, options: VariationOptions): void {
  const { epsilon = 0, variance = "population" } = options;
  requireOption(name, "variance", variance, ["population", "sample"]);
  if (epsilon >= 0 && Number.isFinite(epsilon)) return;
  throw new ConfigError(
    `${name}: epsilon is ${String(epsilon)}, but must be a finite number from 0`,
    "epsilon",
    epsilon,
  );
}
