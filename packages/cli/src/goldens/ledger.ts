import { formatShape, sizeOf } from "@moiety/core";
import { type Tolerance, float64Tolerance, isUseless } from "./budget.ts";
import type { Recorded, Values } from "./case.ts";
import { largestOf } from "./values.ts";

/** Where a case came closest to its tolerance, or went beyond it. */
export interface Worst {
  readonly tensor: string;
  /** Row of the tensor, all its leading dimensions flattened. */
  readonly row: number;
  /** |difference| over tolerance: at most 1 passes. `null` for NaN. */
  readonly error: number | null;
  /** What the libraries gave; `null` for NaN and infinities. */
  readonly actual: number | null;
  readonly reference: number;
}

/** What became of the tensors of a case. */
export interface Verdict {
  readonly passed: boolean;
  /** What failed, each in a few words. */
  readonly failures: readonly string[];
  /** What was held to a rule because the source itself is arbitrary there. */
  readonly notes: readonly string[];
  readonly worst: Worst | null;
  /** Names of the tensors that were held against the libraries. */
  readonly compared: readonly string[];
  /** Names of inputs, weights, masks and runs in another precision. */
  readonly skipped: readonly string[];
  /** What was held against recorded numbers, by the name under which it was. */
  readonly found: ReadonlyMap<string, Values>;
}

/**
 * Keeps account of every tensor of a case: each is compared, or skipped with a reason that the rule
 * knows, and what is neither fails the case.
 */
export class Ledger {
  readonly #tensors: ReadonlyMap<string, Recorded>;
  readonly #tolerance: Tolerance;
  readonly #measured: ReadonlyMap<string, Values> | undefined;
  readonly #found = new Map<string, Values>();
  readonly #caseLargest: number;
  readonly #compared = new Set<string>();
  readonly #skipped = new Set<string>();
  readonly #failures: string[] = [];
  readonly #notes: string[] = [];
  #wide = 0;
  readonly #wideTensors = new Set<string>();
  #worst: Worst | null = null;

  /**
   * `isSkipped` names what is not a result: inputs, weights, masks, runs in another precision.
   * `measured` has the bounds of a float32 run by name; where they say nothing, `tolerance` decides,
   * and a note tells so.
   */
  constructor(
    tensors: ReadonlyMap<string, Recorded>,
    tolerance: Tolerance,
    isSkipped: (name: string) => boolean,
    measured?: ReadonlyMap<string, Values>,
  ) {
    this.#tensors = tensors;
    this.#tolerance = tolerance;
    this.#measured = measured;
    let largest = 0;
    for (const { name, isInteger, data } of tensors.values()) {
      if (isSkipped(name)) this.#skipped.add(name);
      else if (!isInteger) largest = Math.max(largest, largestOf(data));
    }
    this.#caseLargest = largest;
  }

  /** Whether the case has this tensor and it must be compared. */
  wants(name: string): boolean {
    return this.#tensors.has(name) && !this.#skipped.has(name);
  }

  /** The shape of a recorded tensor. */
  shapeOf(name: string): readonly number[] | undefined {
    return this.#tensors.get(name)?.shape;
  }

  /**
   * Holds values against a recorded tensor, by a rule of its own where one is given. Leading
   * dimensions may be flattened on one side.
   */
  compare(name: string, actual: Values, tolerance?: Tolerance): void {
    const reference = this.#tensors.get(name);
    if (reference === undefined) {
      this.fail(`${name} is not in the case`);
      return;
    }
    this.#compared.add(name);
    const rule = reference.isInteger ? exactly : tolerance;
    this.#hold(name, reference, actual, rule ? this.#byRow(rule) : this.#limitsOf(name));
  }

  /**
   * Holds values of a float32 run against those that were recorded in float32, beside the truth of
   * another name. The record is itself off, by what the lengths of its sums give.
   */
  compareTwin(name: string, truth: string, actual: Values): void {
    const reference = this.#tensors.get(name);
    if (reference === undefined) {
      this.fail(`${name} is not in the case`);
      return;
    }
    this.#compared.add(name);
    const own = this.#limitsOf(truth);
    this.#hold(name, reference, actual, (row, index) => own(row, index) + this.#toleranceOf(row));
  }

  /** Holds values against others than the recorded ones of that name, such as zeros. */
  compareValues(name: string, reference: Values, actual: Values): void {
    this.#hold(name, reference, actual, this.#limitsOf(name));
  }

  #byRow(rule: Tolerance): Limits {
    return (rowLargest) => rule(rowLargest, this.#caseLargest);
  }

  #toleranceOf(rowLargest: number): number {
    return this.#tolerance(rowLargest, this.#caseLargest);
  }

  /** The yardstick's bounds of a tensor, or the tolerance of the run where they say nothing. */
  #limitsOf(name: string): Limits {
    if (this.#measured === undefined) return (row) => this.#toleranceOf(row);
    const known = this.#measured.get(name);
    return (row, index) => {
      const bound = known === undefined ? Infinity : (known.bounds?.[index] ?? 0);
      if (!isUseless(bound, row, this.#caseLargest)) {
        return bound + float64Tolerance(row, this.#caseLargest);
      }
      this.#wide++;
      this.#wideTensors.add(name);
      return this.#toleranceOf(row);
    };
  }

  #hold(name: string, reference: Values, actual: Values, limits: Limits): void {
    const { shape } = reference;
    this.#found.set(name, actual);
    const width = shape.at(-1) ?? 1;
    if (sizeOf(actual.shape) !== sizeOf(shape) || (actual.shape.at(-1) ?? 1) !== width) {
      this.fail(`${name} is ${formatShape(actual.shape)}, but ${formatShape(shape)} is recorded`);
      return;
    }
    let worst: Worst | null = null;
    for (let start = 0, row = 0; start < reference.data.length; start += width, row++) {
      const expected = reference.data.subarray(start, start + width);
      const rowLargest = largestOf(expected);
      for (const [index, value] of expected.entries()) {
        const limit = limits(rowLargest, start + index);
        const found = worstOf(name, row, actual.data[start + index] ?? Number.NaN, value, limit);
        if (isWorse(found, worst)) worst = found;
      }
    }
    if (worst === null) return;
    if (isWorse(worst, this.#worst)) this.#worst = worst;
    if (worst.error === null || worst.error > 1) this.fail(describe(worst));
  }

  /**
   * Counts a tensor as compared by a rule, where the source itself is arbitrary; the result says so.
   * `problem` tells how the rule was broken.
   */
  judge(name: string, rule: string, problem?: string): void {
    if (!this.#tensors.has(name)) {
      this.fail(`${name} is not in the case`);
      return;
    }
    this.#compared.add(name);
    this.#notes.push(`${name}: ${rule}`);
    if (problem !== undefined) this.fail(`${name}: ${problem}`);
  }

  /** Notes what the result shall say beside its verdict. */
  note(what: string): void {
    this.#notes.push(what);
  }

  /** Notes that the case fails. */
  fail(what: string): void {
    this.#failures.push(what);
  }

  /** Closes the account: what was neither compared nor skipped is a failure. */
  close(): Verdict {
    for (const name of this.#tensors.keys()) {
      if (!this.#compared.has(name) && !this.#skipped.has(name)) {
        this.fail(`${name} was not compared`);
      }
    }
    if (this.#compared.size === 0) this.fail("nothing was compared");
    if (this.#wide > 0) {
      this.note(
        `the bounds of ${this.#wide} numbers are too wide to judge by (in ` +
          `${[...this.#wideTensors].join(", ")}); those are held to the lengths of their sums`,
      );
    }
    return {
      passed: this.#failures.length === 0,
      failures: this.#failures,
      notes: this.#notes,
      worst: this.#worst,
      compared: [...this.#compared],
      skipped: [...this.#skipped],
      found: this.#found,
    };
  }
}

/** Integers are equal or wrong. */
function exactly(): number {
  return 0;
}

/** How far a number may be off, from the largest |reference| in its row and its place. */
type Limits = (rowLargest: number, index: number) => number;

function worstOf(
  tensor: string,
  row: number,
  actual: number,
  reference: number,
  limit: number,
): Worst {
  const difference = Math.abs(actual - reference);
  const error = difference === 0 ? 0 : difference / limit;
  return {
    tensor,
    row,
    error: Number.isFinite(error) ? error : null,
    actual: Number.isFinite(actual) ? actual : null,
    reference,
  };
}

function isWorse(found: Worst, worst: Worst | null): boolean {
  if (worst === null) return true;
  return (found.error ?? Number.POSITIVE_INFINITY) > (worst.error ?? Number.POSITIVE_INFINITY);
}

function describe({ tensor, row, error, actual, reference }: Worst): string {
  const off = error === null ? "" : ` (${error.toPrecision(3)} times the tolerance)`;
  return `${tensor} row ${row}: ${actual ?? "not finite"} where ${reference} is recorded${off}`;
}
