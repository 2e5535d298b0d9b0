import type { Values } from "../case.ts";
import { rearranged } from "../values.ts";

/** Choices on the host, as sources with slots of fixed capacity lay them out. */
export interface SlotLayout {
  readonly tokens: number;
  readonly experts: number;
  readonly topK: number;
  readonly capacity: number;
  /** Tokens that share an expert's slots: a sequence, or all. */
  readonly groupSize: number;
  /** Whether all first choices come before all second ones. */
  readonly choiceFirst: boolean;
  /** Tokens in the order in which they come; by position unless given. */
  readonly tokenOrder?: readonly number[] | undefined;
}

/**
 * The place of each choice in `[T, E, C]`, flattened: `[T · k]`, −1 where it has none. An expert's
 * slots are filled in the order of its choices.
 */
export function slotsOf(indices: ArrayLike<number>, layout: SlotLayout): Int32Array {
  const { tokens, experts, topK, capacity, groupSize, choiceFirst, tokenOrder } = layout;
  const slots = new Int32Array(tokens * topK).fill(-1);
  const groups = Math.ceil(tokens / Math.max(groupSize, 1));
  const filled = new Int32Array(groups * experts);
  for (let turn = 0; turn < tokens * topK; turn++) {
    const [position, choice] = choiceFirst
      ? [turn % tokens, Math.floor(turn / tokens)]
      : [Math.floor(turn / topK), turn % topK];
    const token = tokenOrder ? (tokenOrder[position] ?? tokens) : position;
    const place = token * topK + choice;
    const expert = indices[place] ?? experts;
    if (expert >= experts) continue;
    const queue = Math.floor(token / groupSize) * experts + expert;
    const slot = filled[queue] ?? 0;
    filled[queue] = slot + 1;
    if (slot >= capacity)
      throw new RangeError(`expert ${expert} has ${slot + 1} of ${capacity} slots`);
    slots[place] = (token * experts + expert) * capacity + slot;
  }
  return slots;
}

/** Values of choices `[T · k]` at their slots: `[T, E, C]`. */
export function scatterSlots(
  values: Values,
  slots: Int32Array,
  { tokens, experts, capacity }: SlotLayout,
): Values {
  return rearranged(values, [tokens, experts, capacity], (from) => {
    const data = new Float64Array(tokens * experts * capacity);
    for (const [place, slot] of slots.entries()) {
      if (slot >= 0) data[slot] = from[place] ?? Number.NaN;
    }
    return data;
  });
}

/** What stands at the slots of choices: `[T · k]`, 0 where there is no slot. */
export function gatherSlots(values: Float64Array, slots: Int32Array): Float64Array {
  return Float64Array.from(slots, (slot) => (slot < 0 ? 0 : (values[slot] ?? Number.NaN)));
}

/** 1 where a value is not 0. */
export function nonZero({ shape, data, bounds }: Values): Values {
  const mayBeZero = (bound: number, at: number): number =>
    bound > 0 && bound >= Math.abs(data[at] ?? 0) ? 1 : 0;
  return {
    shape,
    data: data.map((value) => (value === 0 ? 0 : 1)),
    bounds: bounds?.map(mayBeZero),
  };
}
