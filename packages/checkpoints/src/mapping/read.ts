import { type DType, type HostArrays, hostArray, sizeOf } from "@moiety/core";
import { bytesOf } from "../host/byte-order.ts";
import type { HostTensor } from "../host/tensor.ts";
import type { TensorReader } from "../safetensors/info.ts";
import type { TensorBinding } from "./bind.ts";
import { openPart } from "./stored.ts";
import { streamPath } from "./stream.ts";

/**
 * Reads all tensors of a path into one host array: `f32` or `f64` for floats, or another dtype that
 * `toHost` converts to. A few megabytes at a time are held beside it.
 *
 * Throws `ConfigError` for a tensor that is not there, `FormatError` for one of another shape, and
 * what `toHost` throws.
 */
export async function readPath<D extends DType>(
  reader: TensorReader,
  binding: TensorBinding,
  dtype: D,
): Promise<HostTensor<D>> {
  // All that may be refused is, before there is an array as large as the binding says.
  for (const part of binding.parts) await openPart(reader, binding, part, dtype);
  const data: HostArrays[D] = hostArray(dtype, sizeOf(binding.shape));
  const place = bytesOf(data);
  await streamPath(reader, binding, dtype, {
    write: (offset, bytes) => place.set(bytes, offset),
  });
  return { dtype, shape: binding.shape, data };
}
