import { type ReduceAttributes, stridesOf } from "@moiety/core";
import { isWhole } from "./elementwise.ts";
import { gridOf } from "./grid.ts";
import type { Kernel } from "./kernel.ts";
import { BLOCK, newFloat64 } from "./scratch.ts";

/** Reduces axes: each output takes its elements in row-major order, in float64. */
export const reduce: Kernel = (call) => {
  const { kind, axes } = call.attributes<ReduceAttributes>();
  const { array, shape, dtype } = call.input(0);
  const buffer = call.make(0);
  const target = call.view(0, buffer);
  const totals = target instanceof Float64Array ? target : newFloat64(target.length);
  const method = METHODS[kind === "sum" && isWhole(dtype) ? "integerSum" : kind];
  totals.fill(method.start);

  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const keptStrides = stridesOf(kept).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  const { sizes, strides } = gridOf(shape, [keptStrides]);
  const steps = strides[0] ?? [];
  const row = sizes.at(-1) ?? 1;
  const across = steps.at(-1) !== 0;
  const block = call.scratch.block("in 0");
  const place = new Place(sizes.slice(0, -1), steps.slice(0, -1));
  const rows = sizes.slice(0, -1).reduce((product, size) => product * size, 1);
  const rowsAtOnce = Math.max(1, Math.floor(BLOCK / Math.max(row, 1)));

  for (let first = 0; first < rows; first += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - first);
    for (let done = 0; done < row; done += BLOCK) {
      // Either several whole rows, or a piece of one.
      const piece = Math.min(BLOCK, row - done);
      const start = first * row + done;
      block.set(array.subarray(start, start + piece * count));
      for (let index = 0; index < count; index++) {
        const position = index * piece;
        if (across) method.across(totals, place.position + done, block, position, piece);
        else method.along(totals, place.position, block, position, piece);
        if (done + piece === row) place.next();
      }
    }
  }
  if (totals !== target) target.set(totals);
  return [buffer];
};

/** Walks the outer axes in row-major order, keeping the position in the output. */
class Place {
  position = 0;
  readonly #sizes: readonly number[];
  readonly #steps: readonly number[];
  readonly #index: number[];

  constructor(sizes: readonly number[], steps: readonly number[]) {
    this.#sizes = sizes;
    this.#steps = steps;
    this.#index = sizes.map(() => 0);
  }

  next(): void {
    for (let axis = this.#sizes.length - 1; axis >= 0; axis--) {
      const step = this.#steps[axis] ?? 0;
      const size = this.#sizes[axis] ?? 1;
      const index = (this.#index[axis] ?? 0) + 1;
      this.position += step;
      if (index < size) {
        this.#index[axis] = index;
        return;
      }
      this.#index[axis] = 0;
      this.position -= step * size;
    }
  }
}

/** Takes `count` elements of a block, from `from` on, into totals from `to` on. */
type Take = (
  totals: Float64Array,
  to: number,
  block: Float64Array,
  from: number,
  count: number,
) => void;

interface Method {
  /** The total of nothing. */
  readonly start: number;
  /** Takes all elements into one total. */
  readonly along: Take;
  /** Takes each element into a total of its own. */
  readonly across: Take;
}

const METHODS: Readonly<Record<"sum" | "integerSum" | "max" | "min", Method>> = {
  sum: {
    start: 0,
    along(totals, to, block, from, count) {
      let total = totals[to]!;
      for (let i = 0; i < count; i++) total += block[from + i]!;
      totals[to] = total;
    },
    across(totals, to, block, from, count) {
      for (let i = 0; i < count; i++) totals[to + i]! += block[from + i]!;
    },
  },
  // Taking each sum modulo 2^32 keeps it exact in float64, however many there are.
  integerSum: {
    start: 0,
    along(totals, to, block, from, count) {
      let total = totals[to]!;
      for (let i = 0; i < count; i++) total = (total + block[from + i]!) | 0;
      totals[to] = total;
    },
    across(totals, to, block, from, count) {
      for (let i = 0; i < count; i++) totals[to + i] = (totals[to + i]! + block[from + i]!) | 0;
    },
  },
  // NaN loses to every number, so that it stands for the extreme of nothing.
  max: {
    start: Number.NaN,
    along(totals, to, block, from, count) {
      let total = totals[to]!;
      for (let i = 0; i < count; i++) {
        const value = block[from + i]!;
        if (value > total || Number.isNaN(total)) total = value;
      }
      totals[to] = total;
    },
    across(totals, to, block, from, count) {
      for (let i = 0; i < count; i++) {
        const value = block[from + i]!;
        const total = totals[to + i]!;
        if (value > total || Number.isNaN(total)) totals[to + i] = value;
      }
    },
  },
  min: {
    start: Number.NaN,
    along(totals, to, block, from, count) {
      let total = totals[to]!;
      for (let i = 0; i < count; i++) {
        const value = block[from + i]!;
        if (value < total || Number.isNaN(total)) total = value;
      }
      totals[to] = total;
    },
    across(totals, to, block, from, count) {
      for (let i = 0; i < count; i++) {
        const value = block[from + i]!;
        const total = totals[to + i]!;
        if (value < total || Number.isNaN(total)) totals[to + i] = value;
      }
    },
  },
};
