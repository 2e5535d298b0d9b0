import { type DType, type Tensor, cast, concat } from "@moiety/core";

/** The small numbers of a step, on the host. */
export interface Readings {
  /** In the order in which they were given. */
  readonly scalars: readonly number[];
  /** `[E]` of each layer. */
  readonly loads: readonly Int32Array[];
}

/**
 * Reads scalars and loads: packed on the device, so that one wait brings all of them. Nothing that
 * was given is freed.
 */
export async function readNumbers(
  scalars: readonly [Tensor, ...Tensor[]],
  loads: readonly Tensor[],
): Promise<Readings> {
  const [first] = scalars;
  const dtype = scalars.some((scalar) => scalar.dtype === "f64") ? "f64" : "f32";
  const [packed, counts] = first.backend.scope(() => [
    concat(...scalars.map((scalar) => inDType(scalar, dtype).reshape([1])), { axis: 0 }),
    loads.length > 0 ? concat(...loads, { axis: 0 }) : undefined,
  ]);
  try {
    const [numbers, counted] = await Promise.all([packed?.read(), counts?.read()]);
    let start = 0;
    return {
      scalars: Array.from(numbers ?? []),
      loads: loads.map(({ size }) => {
        const load = Int32Array.from((counted ?? []).slice(start, start + size));
        start += size;
        return load;
      }),
    };
  } finally {
    packed?.dispose();
    counts?.dispose();
  }
}

/** The same numbers in a dtype; nothing is run where they have it. */
export function inDType(tensor: Tensor, dtype: DType): Tensor {
  return tensor.dtype === dtype ? tensor : cast(tensor, { dtype });
}
