/**
 * The yardstick: a second, naive reference that shares nothing with the oracle. It computes every
 * op in f64 and carries, for every element, a bound of what an honest backend may be off by. Kernels
 * hand bounds on, so those of a whole program, of a fused op's decomposition and of gradients come
 * out by themselves.
 */
import {
  type Backend,
  type Op,
  type Tensor,
  defineBackend,
  defineOp,
  stopGradient,
} from "@moiety/core";
import { BOUNDS, YardstickDriver } from "./driver.ts";
import { type AccumulationDType, Precision, type StorageDType } from "./precision.ts";

export type { AccumulationDType, StorageDType } from "./precision.ts";

/** What an honest backend is allowed. */
export interface YardstickOptions {
  /** In what it adds products up, as its manifest declares. */
  readonly accumulation: AccumulationDType;
  /** In what it keeps floats: those that the yardstick's programs keep as f64. */
  readonly storage: StorageDType;
}

/** The naive reference. */
export interface Yardstick {
  /** Runs programs whose floats are f64. */
  readonly backend: Backend;
  /**
   * The bound of each element of one of its tensors, in row-major order. Of a float: how far an
   * honest backend's value may be from the yardstick's, at most; ∞ where it may be anything. Of a
   * whole number or bool: 0 where it must be equal, above 0 where it may differ.
   */
  boundsOf(tensor: Tensor): Promise<Float64Array>;
}

/** Bounds of any tensor of the yardstick, of its shape. */
const boundsOp: Op<[x: Tensor]> = /*#__PURE__*/ defineOp({
  name: BOUNDS,
  inputs: ["x"],
  kernel: "inference",
  infer: ([x]) => ({ shape: x.shape, dtype: "f64" }),
});

/** Makes a yardstick for backends of one accumulation and storage. */
export function createYardstick({ accumulation, storage }: YardstickOptions): Yardstick {
  const backend = defineBackend(new YardstickDriver(new Precision(accumulation, storage)));
  return {
    backend,
    async boundsOf(tensor) {
      const untraced = stopGradient(tensor);
      const bounds = boundsOp(untraced);
      untraced.dispose();
      try {
        return Float64Array.from(await bounds.read());
      } finally {
        bounds.dispose();
      }
    },
  };
}
