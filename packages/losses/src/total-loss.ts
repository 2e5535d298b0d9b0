import { ConfigError, type LossValue, type Tensor, add, mul } from "@moiety/core";

/**
 * The sum of `coefficient · value` over loss values, added to `main` where given: a scalar.
 * @throws ConfigError where there is nothing to add
 *
 * @example
 * const loss = totalLoss(outputs.losses, crossEntropyMean);
 */
export function totalLoss(values: readonly LossValue[], main?: Tensor): Tensor {
  let total = main;
  for (const { value, coefficient } of values) {
    const part = mul(value, coefficient);
    total = total ? add(total, part) : part;
  }
  if (total) return total;
  throw new ConfigError(
    "totalLoss has nothing to add; give it losses or a main loss",
    "values",
    values,
  );
}
