import type { TensorSpec } from "../contract.ts";
import type { DType } from "../dtype.ts";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { type Shape, formatShape, sameShape } from "../shape.ts";

/** Specs of a call's inputs, as its errors show them. */
export type Specs = readonly (TensorSpec | undefined)[];

/** The dtypes of real numbers. */
export const FLOATS: readonly DType[] = ["f32", "f64"];
/** The dtypes of whole numbers that kernels compute with. */
export const INTEGERS: readonly DType[] = ["i32", "u32"];
/** The dtypes that arithmetic is defined on. */
export const NUMBERS: readonly DType[] = ["f32", "f64", "i32", "u32"];
/** The dtypes that kernels compute with. */
export const COMPUTED: readonly DType[] = ["f32", "f64", "i32", "u32", "bool"];
/** Every dtype. */
export const DTYPES: readonly DType[] = [...COMPUTED, "f16", "bf16", "u8"];

/** A {@link ShapeError} that names the op and shows its inputs. */
export function shapeError(op: string, problem: string, inputs: Specs): ShapeError {
  const shown = inputs.flatMap((spec) => (spec ? [spec.dtype + formatShape(spec.shape)] : []));
  return new ShapeError(`${op}: ${problem}${shown.length > 0 ? `; got ${shown.join(", ")}` : ""}`, {
    op,
    shapes: inputs.map((spec) => spec?.shape ?? null),
  });
}

/** A {@link ConfigError} about an attribute. */
export function attributeError(
  op: string,
  key: string,
  value: unknown,
  wanted: string,
): ConfigError {
  const shown = Array.isArray(value) ? formatShape(value) : String(value);
  return new ConfigError(`${op}: ${key} is ${shown}, but must be ${wanted}`, key, value, { op });
}

/** Throws {@link DTypeError} unless the dtype is one of those named. */
export function requireDType(
  op: string,
  name: string,
  dtype: DType,
  allowed: readonly DType[],
): void {
  if (allowed.includes(dtype)) return;
  throw new DTypeError(`${op}: ${name} is ${dtype}, but must be ${allowed.join(" or ")}; cast it`, {
    op,
  });
}

/** Throws {@link DTypeError} unless the dtype is f32 or f64. */
export function requireFloat(op: string, name: string, dtype: DType): void {
  requireDType(op, name, dtype, FLOATS);
}

/** Throws {@link DTypeError} unless both specs have one dtype. */
export function requireSameDType(op: string, a: TensorSpec, b: TensorSpec): void {
  requireOneDType(op, [a, b], DTYPES);
}

/** Throws {@link DTypeError} unless all specs have one dtype, which must be among those named. */
export function requireOneDType(op: string, inputs: Specs, allowed: readonly DType[]): DType {
  const present = inputs.filter((spec) => spec !== undefined);
  const dtype = present[0]?.dtype ?? "f32";
  requireDType(op, "an input", dtype, allowed);
  if (present.every((spec) => spec.dtype === dtype)) return dtype;
  throw new DTypeError(
    `${op}: dtypes ${present.map((spec) => spec.dtype).join(", ")} do not mix; cast to one`,
    { op, shapes: present.map((spec) => spec.shape) },
  );
}

/** Throws {@link ShapeError} unless the rank is at least `least` (and at most `most`). */
export function requireRank(
  op: string,
  name: string,
  spec: TensorSpec,
  least: number,
  most: number = Number.POSITIVE_INFINITY,
): void {
  const rank = spec.shape.length;
  if (rank >= least && rank <= most) return;
  const wanted = least === most ? `${least}` : `at least ${least}`;
  throw shapeError(op, `${name} must have rank ${wanted}`, [spec]);
}

/** Throws {@link ShapeError} unless the spec has this shape. */
export function requireShape(
  op: string,
  name: string,
  spec: TensorSpec,
  shape: Shape,
  inputs: Specs,
): void {
  if (sameShape(spec.shape, shape)) return;
  throw shapeError(op, `${name} must have shape ${formatShape(shape)}`, inputs);
}

/** Throws {@link ConfigError} unless the attribute is one of those named. */
export function requireOneOf(
  op: string,
  key: string,
  value: string,
  allowed: readonly string[],
): void {
  if (!allowed.includes(value)) throw attributeError(op, key, value, allowed.join(", "));
}

/** Throws {@link ConfigError} unless the attribute is a whole number from `least` to `most`. */
export function requireWhole(
  op: string,
  key: string,
  value: number,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw attributeError(op, key, value, `a whole number from ${least} to ${most}`);
}

/** Throws {@link ConfigError} unless the attribute is a finite number. */
export function requireFinite(op: string, key: string, value: number): void {
  if (!Number.isFinite(value)) throw attributeError(op, key, value, "a finite number");
}

/** Throws {@link ConfigError} unless a scalar fits the dtype it is to become. */
export function requireScalar(op: string, key: string, value: number, dtype: DType): void {
  if (typeof value !== "number") throw attributeError(op, key, value, "a number");
  if (dtype === "i32") requireWhole(op, key, value, -(2 ** 31), 2 ** 31 - 1);
  if (dtype === "u32") requireWhole(op, key, value, 0, 2 ** 32 - 1);
  if (dtype === "u8") requireWhole(op, key, value, 0, 255);
  if (dtype === "bool") requireWhole(op, key, value, 0, 1);
}

/** Throws {@link ShapeError} unless every size of an attribute's shape is a whole number ≥ 0. */
export function requireSizes(op: string, key: string, shape: Shape, rank?: number): void {
  const valid = Array.isArray(shape) && shape.every((size) => Number.isInteger(size) && size >= 0);
  if (valid && (rank === undefined || shape.length === rank)) return;
  const count = rank === undefined ? "" : `${rank} `;
  throw new ShapeError(
    `${op}: ${key} is ${Array.isArray(shape) ? formatShape(shape) : String(shape)}, ` +
      `but must be ${count}whole numbers from 0`,
    { op, shapes: [] },
  );
}

/** Throws {@link ShapeError} unless the axis is inside the rank. Ops take no negative axes. */
export function requireAxis(op: string, axis: number, spec: TensorSpec): void {
  if (Number.isInteger(axis) && axis >= 0 && axis < spec.shape.length) return;
  throw shapeError(op, `axis ${axis} is outside rank ${spec.shape.length}`, [spec]);
}
