import type { BoundedValues, HostTensor } from "@moiety/conformance";

/** How far a total may stay behind the oracle's, as a share of the range of scores for each token. */
const SHORT = 1e-4;

/**
 * What is wrong with a balanced assignment `[T, 1]`, if anything: no expert has more than T/E tokens,
 * only padding has none (where the oracle has none), and the total of the logits is about as large
 * as the oracle's.
 */
export function judgeAssignment(
  { data: chosen }: HostTensor,
  routed: Readonly<Record<string, BoundedValues>>,
): string | undefined {
  const { logits, selected } = routed;
  if (logits === undefined || selected === undefined) return "there is nothing to hold it to";
  const [tokens = 0, experts = 0] = logits.shape;
  const counts = new Array<number>(experts + 1).fill(0);
  for (const [token, expert] of chosen.entries()) {
    if ((counts[expert] = (counts[expert] ?? Number.NaN) + 1) > 0) continue;
    return `token ${token} chose ${expert}, of experts 0 … ${experts - 1}`;
  }
  const crowded = counts.findIndex((count, expert) => expert < experts && count > tokens / experts);
  if (crowded >= 0) return `expert ${crowded} has ${counts[crowded]} of ${tokens} tokens`;
  const stray = chosen.findIndex(
    (one, at) => (one === experts) !== (selected.values[at] === experts),
  );
  if (stray >= 0) return `token ${stray} has expert ${chosen[stray]}; only padding has none`;
  const total = (choice: ArrayLike<number>): number =>
    Array.from(choice).reduce(
      (sum, expert, token) =>
        expert === experts ? sum : sum + (logits.values[token * experts + expert] ?? Number.NaN),
      0,
    );
  const range = Math.max(...logits.values) - Math.min(...logits.values);
  const [own, oracle] = [total(chosen), total(selected.values)];
  if (own >= oracle - tokens * range * SHORT) return undefined;
  return `the logits add up to ${own}, and those of the oracle's to ${oracle}`;
}
