import type { Kernel, Operand } from "./kernel.ts";

/** A row in its order, with what is certain of it. */
interface Ranking {
  /** Indices into the row. */
  readonly order: readonly number[];
  /** For each place whether its index is certain. */
  readonly certain: readonly boolean[];
  /** How many of the places belong to unmasked elements; 0 where the mask is not certain. */
  readonly open: number;
}

/** One row and its order. */
class Row {
  readonly #x: Operand;
  readonly #mask: Operand | undefined;
  readonly #start: number;
  readonly #sign: 1 | -1;

  constructor(x: Operand, mask: Operand | undefined, row: number, descending: boolean) {
    this.#x = x;
    this.#mask = mask;
    this.#start = row * widthOf(x);
    this.#sign = descending ? 1 : -1;
  }

  rank(): Ranking {
    const order = Array.from({ length: widthOf(this.#x) }, (_, index) => index);
    order.sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
    const uncertainMask = order.some((index) => this.#mask?.bound(this.#start + index) === 1);
    if (uncertainMask) return { order, certain: order.map(() => false), open: 0 };
    const open = order.filter((index) => !this.#isMasked(index));
    const certain = order.map(() => true);
    if (open.some((index) => this.#bound(index) !== 0)) this.#cross(open, certain);
    return { order, certain, open: open.length };
  }

  /** What is sorted by, the highest first; NaN is below every number. */
  #key(index: number): number {
    return this.#sign * (this.#isNaN(index) ? -Infinity : this.#x.value(this.#start + index));
  }

  #isNaN(index: number): boolean {
    return Number.isNaN(this.#x.value(this.#start + index));
  }

  #bound(index: number): number {
    return this.#x.bound(this.#start + index);
  }

  #isMasked(index: number): boolean {
    return this.#mask?.value(this.#start + index) === 0;
  }

  #isBefore(a: number, b: number): boolean {
    if (this.#isMasked(a) !== this.#isMasked(b)) return this.#isMasked(b);
    if (!this.#isMasked(a)) {
      if (this.#key(a) !== this.#key(b)) return this.#key(a) > this.#key(b);
      // An infinity and NaN may have one key, but are not equal.
      if (this.#isNaN(a) !== this.#isNaN(b)) return this.#isNaN(b) === this.#sign > 0;
    }
    return a < b;
  }

  /**
   * Finds the places that are not certain: those of an element that may be as high as one before it,
   * or as low as one behind it. Exact equals are certain, since they keep their order.
   */
  #cross(order: readonly number[], certain: boolean[]): void {
    const places = order.map((_, place) => place);
    const check = (sequence: readonly number[], sign: 1 | -1): void => {
      // How low the elements so far may be: all of them, and those that are not exact.
      let lowest = Infinity;
      let lowestInexact = Infinity;
      for (const place of sequence) {
        const index = order[place] ?? 0;
        const key = sign * this.#key(index);
        const own = this.#bound(index);
        const [low, high] = own === Infinity ? [-Infinity, Infinity] : [key - own, key + own];
        const crosses = own > 0 ? high >= lowest : high > lowest || high >= lowestInexact;
        if (crosses && place !== sequence[0]) certain[place] = false;
        lowest = Math.min(lowest, low);
        if (own > 0) lowestInexact = Math.min(lowestInexact, low);
      }
    };
    check(places, 1);
    check(places.toReversed(), -1);
  }
}

function widthOf(x: Operand): number {
  return x.shape.at(-1) ?? 0;
}

function rankRows(x: Operand, mask: Operand | undefined, descending: boolean): Ranking[] {
  const rows = widthOf(x) === 0 ? 0 : x.size / widthOf(x);
  return Array.from({ length: rows }, (_, row) => new Row(x, mask, row, descending).rank());
}

/** The k highest of each row. */
export const topK: Kernel = (call) => {
  const { k } = call.attributes<{ k: number }>();
  const x = call.input(0);
  const [values, indices] = [call.result(0), call.result(1)];
  for (const [row, { order, certain, open }] of rankRows(x, call.inputs[1], true).entries()) {
    const start = row * widthOf(x);
    for (let place = 0; place < k; place++) {
      const [at, index] = [row * k + place, order[place] ?? 0];
      values.copy(at, x, start + index);
      indices.set(at, index, certain[place] ? 0 : Infinity);
      if (certain[place]) continue;
      const rivals = order.slice(0, open).map((rival) => start + rival);
      values.set(at, x.value(start + index), boundOfPlace(x, rivals, place));
    }
  }
  return [values, indices];
};

/**
 * Bound of the value at an uncertain place: elements that cannot be there do not count, and among
 * the others a sorted place moves by no more than the element that moves most.
 */
function boundOfPlace(x: Operand, rivals: readonly number[], place: number): number {
  if (rivals.length === 0) return Infinity;
  const value = (rival: number): number =>
    Number.isNaN(x.value(rival)) ? -Infinity : x.value(rival);
  const placed = (sign: 1 | -1): number => {
    const ends = rivals.map((rival) =>
      x.bound(rival) === Infinity ? sign * Infinity : value(rival) + sign * x.bound(rival),
    );
    return ends.sort((a, b) => b - a)[place] ?? 0;
  };
  const [low, high] = [placed(-1), placed(1)];
  let bound = 0;
  for (const rival of rivals) {
    const own = x.bound(rival);
    const possible = own === Infinity || (value(rival) + own >= low && value(rival) - own <= high);
    if (possible) bound = Math.max(bound, own);
  }
  return bound;
}

/** The order that sorts each row. */
export const argsort: Kernel = (call) => {
  const { descending = false } = call.attributes<{ descending?: boolean }>();
  const x = call.input(0);
  const y = call.result();
  for (const [row, ranking] of rankRows(x, call.inputs[1], descending).entries()) {
    for (const [place, index] of ranking.order.entries()) {
      y.set(row * widthOf(x) + place, index, ranking.certain[place] ? 0 : Infinity);
    }
  }
  return [y];
};
