import {
  type Attributes,
  type DType,
  type Shape,
  ShapeError,
  type TensorSpec,
  sizeOf,
} from "@moiety/core";
import type { Precision } from "./precision.ts";

/**
 * What a tensor holds here: numbers, whatever the dtype (f16 and bf16 decoded, bool as 0 or 1), and
 * how far an honest backend's may be from each. Of floats that is a bound ≥ 0 of the difference; a
 * whole number or bool with a bound above 0 may differ. `undefined`: exact.
 */
export interface BoundedArray {
  readonly values: Float64Array;
  readonly bounds: Float64Array | undefined;
}

/** An input of a call. */
export class Operand implements BoundedArray {
  readonly values: Float64Array;
  readonly bounds: Float64Array | undefined;
  readonly shape: Shape;
  readonly dtype: DType;

  constructor({ values, bounds }: BoundedArray, { shape, dtype }: TensorSpec) {
    this.values = values;
    this.bounds = bounds;
    this.shape = shape;
    this.dtype = dtype;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** The number at a place in row-major order. */
  value(place: number): number {
    return this.values[place] ?? NaN;
  }

  /** Its bound. */
  bound(place: number): number {
    return this.bounds?.[place] ?? 0;
  }
}

/** An output while it is written. Its bounds are made with the first that is not 0. */
export class Result implements BoundedArray {
  readonly values: Float64Array;
  #bounds: Float64Array | undefined;

  constructor(size: number) {
    this.values = new Float64Array(size);
  }

  get bounds(): Float64Array | undefined {
    return this.#bounds;
  }

  /** Writes an element. */
  set(place: number, value: number, bound: number): void {
    this.values[place] = value;
    if (bound !== 0) this.#bounds ??= new Float64Array(this.values.length);
    if (this.#bounds) this.#bounds[place] = bound;
  }

  /** Copies an element. */
  copy(place: number, from: Operand, source: number): void {
    this.set(place, from.value(source), from.bound(source));
  }
}

/** One call of an op. */
export class KernelCall {
  readonly name: string;
  readonly precision: Precision;
  readonly inputs: readonly (Operand | undefined)[];
  readonly specs: readonly TensorSpec[];
  readonly #attributes: Attributes;

  constructor(
    name: string,
    precision: Precision,
    inputs: readonly (Operand | undefined)[],
    attributes: Attributes,
    specs: readonly TensorSpec[],
  ) {
    this.name = name;
    this.precision = precision;
    this.inputs = inputs;
    this.#attributes = attributes;
    this.specs = specs;
  }

  /** The attributes, in the form that the op's `infer` has checked. */
  attributes<A>(): A {
    return this.#attributes as unknown as A;
  }

  /** An input that must be there. */
  input(index: number): Operand {
    const input = this.inputs[index];
    if (input) return input;
    throw new ShapeError(`${this.name} was called without input ${index}`, { op: this.name });
  }

  /** Shape and dtype of an output. */
  spec(index: number): TensorSpec {
    const spec = this.specs[index];
    if (spec) return spec;
    throw new ShapeError(`${this.name} has no output ${index}`, { op: this.name });
  }

  /** An empty output. */
  result(index = 0): Result {
    return new Result(sizeOf(this.spec(index).shape));
  }
}

/** Computes one op. */
export type Kernel = (call: KernelCall) => readonly BoundedArray[];

/** A 32-bit whole number as i32 or u32 keep it. */
export function wrapped(value: number, dtype: DType): number {
  return dtype === "u32" ? value >>> 0 : value | 0;
}
