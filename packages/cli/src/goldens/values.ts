import { type Backend, type FloatDType, type Tensor } from "@moiety/core";
import type { Values } from "./case.ts";
import type { RunContext } from "./handler.ts";

type BoundsOf = RunContext["boundsOf"];

/** Reads a tensor as float64, whatever it holds, with its bounds where it has some. */
async function readValues(tensor: Tensor, boundsOf: BoundsOf): Promise<Values> {
  const [data, bounds] = await Promise.all([tensor.read(), boundsOf?.(tensor)]);
  return {
    shape: tensor.shape,
    data: data instanceof Float64Array ? data : Float64Array.from(data),
    bounds: bounds?.some((bound) => bound !== 0) ? bounds : undefined,
  };
}

/** Reads tensors of a run by name, all at once, and frees them. */
export async function takeValues(
  tensors: Readonly<Record<string, Tensor>>,
  { boundsOf }: Pick<RunContext, "boundsOf">,
): Promise<ReadonlyMap<string, Values>> {
  const entries = Object.entries(tensors);
  try {
    const values = await Promise.all(entries.map(([, tensor]) => readValues(tensor, boundsOf)));
    return new Map(entries.map(([name], index) => [name, values[index] as Values]));
  } finally {
    for (const [, tensor] of entries) tensor.dispose();
  }
}

/** Uploads recorded numbers in the precision of the run. */
export function floatTensor(
  backend: Backend,
  { shape, data }: Values,
  dtype: FloatDType,
  as: readonly number[] = shape,
): Tensor {
  return backend.tensor(data, { shape: as, dtype });
}

/** Uploads recorded integers. */
export function indexTensor(
  backend: Backend,
  { shape, data }: Values,
  as: readonly number[] = shape,
): Tensor {
  return backend.tensor(Int32Array.from(data), { shape: as });
}

/** Uploads a recorded 0/1 mask, flattened. */
export function maskTensor(backend: Backend, { data }: Values): Tensor {
  return backend.tensor(Array.from(data, (value) => value !== 0));
}

/** The largest magnitude. */
export function largestOf(values: Float64Array): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest;
}

/** Rearranges numbers, and their bounds alike. */
export function rearranged(
  { data, bounds }: Values,
  shape: readonly number[],
  arrange: (from: Float64Array) => Float64Array,
): Values {
  return { shape, data: arrange(data), bounds: bounds && arrange(bounds) };
}

/** Zeros of a shape. */
export function zeroValues(shape: readonly number[]): Values {
  return { shape, data: new Float64Array(shape.reduce((size, dimension) => size * dimension, 1)) };
}

/** Where sequences begin and end when each has as many tokens. */
export function evenSequences(count: number, tokens: number): number[] {
  return Array.from({ length: count + 1 }, (_, index) => index * tokens);
}
