import {
  type DType,
  type TensorSpec,
  byteLength,
  bytesPerElement,
  hostArray,
  sizeOf,
} from "@moiety/core";
import { HALVES, decode, encode } from "./half.ts";
import type { BoundedArray } from "./kernel.ts";
import type { Precision } from "./precision.ts";

/** A tensor's memory. */
export class Buffer implements BoundedArray {
  readonly dtype: DType;
  readonly byteLength: number;
  readonly values: Float64Array;
  #bounds: Float64Array | undefined;

  constructor(spec: TensorSpec, content?: BoundedArray) {
    this.dtype = spec.dtype;
    this.byteLength = byteLength(spec);
    this.values = content?.values ?? new Float64Array(sizeOf(spec.shape));
    this.#bounds = content?.bounds;
  }

  get bounds(): Float64Array | undefined {
    return this.#bounds;
  }

  /** Takes bytes from the host. */
  write(offset: number, bytes: Uint8Array, precision: Precision): void {
    const { dtype } = this;
    // A copy: the bytes may stand at an odd address.
    const data = hostArray(dtype, bytes.slice().buffer);
    const first = offset / bytesPerElement(dtype);
    for (const [index, code] of data.entries()) {
      const value = dtype === "f16" || dtype === "bf16" ? decode(code, HALVES[dtype]) : code;
      this.values[first + index] = value;
      const bound = precision.uploaded(dtype, value);
      if (bound !== 0) this.#bounds ??= new Float64Array(this.values.length);
      if (this.#bounds) this.#bounds[first + index] = bound;
    }
  }

  /** The bytes of a part. */
  read(offset: number, length: number): Uint8Array {
    const { dtype } = this;
    const size = bytesPerElement(dtype);
    const data = hostArray(dtype, length / size);
    for (let index = 0; index < data.length; index++) {
      const value = this.values[offset / size + index] ?? 0;
      data[index] = dtype === "f16" || dtype === "bf16" ? encode(value, HALVES[dtype]) : value;
    }
    return new Uint8Array(data.buffer);
  }
}
