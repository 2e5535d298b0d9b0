import type { LayerStatistics } from "../statistics.ts";

/**
 * Each expert's share of a layer's assignments; of its weights where every token comes to every
 * expert, as with soft routing. Zeros for a layer without any.
 */
export function sharesOf({
  load,
  weight,
  tokens,
  assignments,
  experts,
}: LayerStatistics): readonly number[] {
  const amounts = assignments === tokens * experts ? weight : load;
  const total = amounts.reduce((sum, amount) => sum + amount, 0);
  return amounts.map((amount) => (total > 0 ? amount / total : 0));
}

/** A share as a percentage. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
