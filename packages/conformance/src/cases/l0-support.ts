import { type AnyOp, type Capabilities, type DType, type Shape, sizeOf } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";

/** The dtypes that every profile computes with. */
export const BASE_DTYPES: readonly DType[] = ["f32", "i32", "u32", "bool"];
/** Every dtype but f64, which only a whole run in float64 uses. */
export const ALL_DTYPES: readonly DType[] = [...BASE_DTYPES, "f16", "bf16", "u8"];

/** Shapes off every tile: empty, single, odd, around powers of two. */
export const SHAPES: readonly Shape[] = [
  [],
  [0],
  [1],
  [3],
  [17],
  [3, 0, 2],
  [2, 31],
  [33, 4],
  [5, 7, 9],
  [2, 3, 5, 7],
  [129, 65],
  [2049],
];

/** More elements than one dimension of a dispatch has groups, and no multiple of anything. */
export const LONG: Shape = [70_003];
/** More rows than one dimension of a dispatch has groups. */
export const MANY_ROWS: Shape = [65_537, 3];

/** A case of level 0 of the first must-pass list. `dtypes` must be claimed, else it is unsupported. */
export function contractCase(
  id: string,
  demand: string,
  ops: readonly AnyOp[],
  dtypes: readonly DType[],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return {
    id: `L0/${id}`,
    level: "L0",
    demand,
    ops,
    since: "2026-11-22",
    unsupported(capabilities: Capabilities): string | undefined {
      const missing = dtypes.filter((dtype) => !capabilities.dtypes.includes(dtype));
      return missing.length === 0 ? undefined : `the manifest has no ${missing.join(", ")}`;
    },
    run,
  };
}

/** Those of the dtypes that the backend claims. */
export function claimed({ capabilities }: CaseContext, dtypes: readonly DType[]): DType[] {
  return dtypes.filter((dtype) => capabilities.dtypes.includes(dtype));
}

/**
 * Any values of a dtype that every backend must carry unchanged: floats that are finite and not
 * subnormal, all bits of integers.
 */
export function anyValues(random: CaseRandom, shape: Shape, dtype: DType): HostTensor {
  switch (dtype) {
    case "f32":
    case "f64":
      return random.normal(shape, 100, dtype);
    case "f16":
    case "bf16": {
      // Exponents from 1 up to the largest but one: no zero, subnormal, infinity or NaN.
      const [mantissa, exponents] = dtype === "f16" ? [10, 30] : [7, 254];
      const values = random.integers([sizeOf(shape), 3], 0, 2 ** 15);
      return generated(shape, dtype, (index) => {
        const [sign = 0, exponent = 0, bits = 0] = values.data.subarray(index * 3, index * 3 + 3);
        return (
          ((sign & 1) << 15) | ((1 + (exponent % exponents)) << mantissa) | (bits % (1 << mantissa))
        );
      });
    }
    default:
      return random.bits(shape, dtype);
  }
}

/** Inputs named `x0`, `x1`, …, one for each shape. */
export function inputsFor<S>(
  list: readonly S[],
  make: (one: S, index: number) => HostTensor,
): Record<string, HostTensor> {
  return Object.fromEntries(list.map((one, index) => [`x${index}`, make(one, index)]));
}
