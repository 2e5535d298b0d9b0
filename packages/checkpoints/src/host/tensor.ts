import type { DType, HostArrays } from "@moiety/core";

/** A tensor's values on the host, ready to be uploaded: as many elements as the shape has. */
export interface HostTensor<D extends DType = DType> {
  /** Element type. */
  readonly dtype: D;
  /** Sizes of the dimensions, outermost first. */
  readonly shape: readonly number[];
  /** The values, row-major. */
  readonly data: HostArrays[D];
}
