import type { Values } from "../case.ts";
import type { Ledger } from "../ledger.ts";
import { rearranged } from "../values.ts";
import { type SlotLayout, nonZero, scatterSlots, slotsOf } from "./slots.ts";

/** Groups of tokens, each of which has places for itself. */
export interface VmoeGroups {
  /** G. */
  readonly count: number;
  /** Tokens of each. */
  readonly length: number;
  readonly experts: number;
  readonly topK: number;
  /** Whether tokens with the best gate come first. */
  readonly batchPriority: boolean;
}

/** Compares choices of tokens with the recorded buffers: as a mask over slots, or as their indices. */
export function compareTokenSlots(
  ledger: Ledger,
  groups: VmoeGroups,
  take: (name: string) => Values,
): void {
  const layout = { ...layoutOf(groups, take("gates")), capacity: 0 };
  if (ledger.wants("indices")) {
    // Overflowed choices have a place in the queue, too, and keep their gate.
    ledger.compare("indices", buffers(take("selected"), layout));
    ledger.compare("combine_weights", take("gates"));
    return;
  }
  const capacity = ledger.shapeOf("combine_weights")?.at(-1) ?? 0;
  const slots = slotsOf(take("indices").data, { ...layout, capacity });
  const combined = scatterSlots(take("weights"), slots, { ...layout, capacity });
  ledger.compare("combine_weights", combined);
  ledger.compare("dispatch_weights", nonZero(combined));
}

/** `[G · S · k, 2]`: the expert of each choice, and how many come before it. */
export function buffers(selected: Values, layout: SlotLayout): Values {
  const capacity = selected.data.length;
  const slots = slotsOf(selected.data, { ...layout, capacity });
  const data = Float64Array.from({ length: 2 * slots.length }, (_, at) => {
    const place = Math.floor(at / 2);
    return at % 2 === 0 ? (selected.data[place] ?? -1) : (slots[place] ?? 0) % capacity;
  });
  return { shape: [slots.length, 2], data };
}

/** Slots of tokens in the order of their best gate, or by position. */
export function layoutOf(groups: VmoeGroups, gates: Values): Omit<SlotLayout, "capacity"> {
  const { count, length, experts, topK, batchPriority } = groups;
  const tokens = count * length;
  const best = (token: number): number => gates.data[token * topK] ?? 0;
  const byGate = Array.from({ length: tokens }, (_, token) => token).sort(
    (a, b) => best(b) - best(a) || a - b,
  );
  return {
    tokens,
    experts,
    topK,
    groupSize: length,
    choiceFirst: true,
    tokenOrder: batchPriority ? byGate : undefined,
  };
}

/** Compares choices of experts with the recorded masks `[G, S, E, C]`, and with the metrics of them. */
export function compareItemSlots(
  ledger: Ledger,
  groups: VmoeGroups,
  take: (name: string) => Values,
): void {
  const { combined, perToken } = spreadItems(groups, take("tokens"), take("weights"));
  ledger.compare("combine_weights", combined);
  ledger.compare("dispatch_weights", nonZero(combined));
  const { count, length, experts } = groups;
  const { data: weights, bounds: off = new Float64Array(weights.length) } = take("weights");
  const ofGroup = (list: ArrayLike<number>, group: number, size: number): number[] =>
    Array.from(list).slice(group * size, (group + 1) * size);
  const perGroup = (metric: string, of: (group: number) => number): void => {
    const data = Float64Array.from({ length: count }, (_, group) => of(group));
    // The least and the most of numbers are off by no more than the number that is off most.
    const bounds = metric.endsWith("_gate")
      ? Float64Array.from({ length: count }, (_, group) => Math.max(0, ...chosen(group, off)))
      : undefined;
    ledger.compare(`metric.${metric}`, { shape: [count], data, bounds });
  };
  const chosen = (group: number, of: Float64Array = weights): number[] =>
    ofGroup(of, group, of.length / count);
  const loads = (group: number): number[] => ofGroup(perToken, group, length);
  perGroup("min_selected_gate", (group) => Math.min(...chosen(group)));
  perGroup("max_selected_gate", (group) => Math.max(...chosen(group)));
  perGroup("num_experts_per_item_min", (group) => Math.min(...loads(group)));
  perGroup("num_experts_per_item_max", (group) => Math.max(...loads(group)));
  const powers = Array.from({ length: Math.floor(Math.log2(experts)) + 1 }, (_, n) => 2 ** n);
  for (const least of new Set([...powers, experts])) {
    perGroup(
      `ratio_processed_items_by_at_least_${least}_experts`,
      (group) => loads(group).filter((load) => load >= least).length / length,
    );
  }
}

/** `[G, E, C]` tokens and weights as a mask over slots `[T, E, C]`; and each token's experts. */
export function spreadItems(
  { count, length, experts }: Pick<VmoeGroups, "count" | "length" | "experts">,
  tokens: Values,
  weights: Values,
): { readonly combined: Values; readonly perToken: Int32Array } {
  const places = tokens.shape.at(-1) ?? 0;
  const total = count * length;
  const perToken = new Int32Array(total);
  for (const token of tokens.data) {
    if (token < total) perToken[token] = (perToken[token] ?? 0) + 1;
  }
  const combined = rearranged(weights, [total, experts, places], (from) => {
    const data = new Float64Array(total * experts * places);
    for (const [at, token] of tokens.data.entries()) {
      if (token >= total) continue;
      const place = at % places;
      const expert = Math.floor(at / places) % experts;
      data[(token * experts + expert) * places + place] = from[at] ?? Number.NaN;
    }
    return data;
  });
  return { combined, perToken };
}
