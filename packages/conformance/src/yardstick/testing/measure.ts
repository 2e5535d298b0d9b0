import {
  type Backend,
  type FloatDType,
  type HostArray,
  type Tensor,
  type TensorSpec,
} from "@moiety/core";
import { type Comparison, compareValues } from "../../compare.ts";
import { type AccumulationDType, createYardstick } from "../index.ts";
import type { Values } from "./draw.ts";

/** A program over inputs, run on several backends. */
export type Program = (
  backend: Backend,
  float: FloatDType,
  inputs: readonly Tensor[],
) => Readonly<Record<string, Tensor>>;

/** A tensor on the host, with its bounds where it has some. */
export interface Found extends TensorSpec {
  readonly data: HostArray;
  readonly bounds: Float64Array;
}

/** Runs a program and reads its outputs. f32 inputs become f64 where the float is f64. */
export async function run(
  backend: Backend,
  float: FloatDType,
  inputs: readonly Values[],
  program: Program,
  boundsOf?: (tensor: Tensor) => Promise<Float64Array>,
): Promise<Record<string, Found>> {
  const tensors = inputs.map(({ data, shape, dtype }) =>
    backend.tensor(data, { shape, dtype: dtype === "f32" ? float : dtype }),
  );
  const outputs = program(backend, float, tensors);
  const found: Record<string, Found> = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    const bounds = boundsOf ? await boundsOf(tensor) : new Float64Array(tensor.size);
    found[name] = { data: await tensor.read(), bounds, shape: tensor.shape, dtype: tensor.dtype };
  }
  return found;
}

/** The values and bounds that the yardstick gives. */
export async function bounded(
  inputs: readonly Values[],
  program: Program,
  accumulation: AccumulationDType = "f32",
): Promise<Record<string, Found>> {
  const { backend, boundsOf } = createYardstick({ accumulation, storage: "f32" });
  try {
    return await run(backend, "f64", inputs, program, boundsOf);
  } finally {
    await backend.dispose();
  }
}

/** Compares what a backend gave in f32 with the yardstick's, output by output. */
export function compareAll(
  found: Readonly<Record<string, Found>>,
  wanted: Readonly<Record<string, Found>>,
): Record<string, Comparison> {
  return Object.fromEntries(
    Object.entries(found).map(([name, { data, shape, dtype }]) => {
      const other = wanted[name] as Found;
      return [
        name,
        compareValues({ got: data, wanted: other.data, bounds: other.bounds, shape, dtype }),
      ];
    }),
  );
}
