import type { GoldenCase, Values } from "./case.ts";
import { requireTensor } from "./case.ts";
import type { Ledger } from "./ledger.ts";

/**
 * Compares the chosen experts and their weights as sets of pairs: several sources choose with an
 * unsorted top-k. Ours are brought into the recorded order; an expert that is missing in ours fails.
 */
export function comparePairs(
  ledger: Ledger,
  golden: GoldenCase,
  ours: { readonly selected: Values; readonly weights: Values },
): void {
  const [experts, weights] = ["selected_experts", "routing_weights"] as const;
  const recorded = requireTensor(golden, experts);
  const size = recorded.data.length;
  if (ours.selected.data.length !== size || ours.weights.data.length !== size) {
    ledger.fail(`${experts}: ${ours.selected.data.length} choices where ${size} are recorded`);
    return;
  }
  const width = recorded.shape.at(-1) ?? 1;
  const selected = new Float64Array(size);
  const sorted = new Float64Array(size);
  for (let start = 0; start < size; start += width) {
    const free = new Map<number, number[]>();
    for (let place = start; place < start + width; place++) {
      const expert = ours.selected.data[place] ?? Number.NaN;
      free.set(expert, [...(free.get(expert) ?? []), place]);
    }
    for (let place = start; place < start + width; place++) {
      const expert = recorded.data[place] ?? Number.NaN;
      const found = free.get(expert)?.shift();
      selected[place] = found === undefined ? Number.NaN : expert;
      sorted[place] = found === undefined ? Number.NaN : (ours.weights.data[found] ?? Number.NaN);
    }
  }
  ledger.compare(experts, { shape: recorded.shape, data: selected });
  ledger.compare(weights, { shape: requireTensor(golden, weights).shape, data: sorted });
}
