import type { GoldenCase, Values } from "./case.ts";
import { requireTensor } from "./case.ts";
import type { Ledger } from "./ledger.ts";
import { rearranged } from "./values.ts";

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
  const places = new Int32Array(size).fill(-1);
  for (let start = 0; start < size; start += width) {
    const free = new Map<number, number[]>();
    for (let place = start; place < start + width; place++) {
      const expert = ours.selected.data[place] ?? Number.NaN;
      free.set(expert, [...(free.get(expert) ?? []), place]);
    }
    for (let place = start; place < start + width; place++) {
      const expert = recorded.data[place] ?? Number.NaN;
      places[place] = free.get(expert)?.shift() ?? -1;
    }
  }
  const arrange = (from: Float64Array): Float64Array =>
    Float64Array.from(places, (place) => from[place] ?? Number.NaN);
  ledger.compare(experts, rearranged(ours.selected, recorded.shape, arrange));
  const { shape } = requireTensor(golden, weights);
  ledger.compare(weights, rearranged(ours.weights, shape, arrange));
}
