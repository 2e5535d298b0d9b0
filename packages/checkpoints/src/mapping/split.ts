import { ShapeError, formatShape, hostArray, sameShape } from "@moiety/core";
import { encode, hostEntry, requireEncodable, storedDtype } from "../host/encode.ts";
import type { HostTensor } from "../host/tensor.ts";
import type { SafetensorsDtype } from "../safetensors/dtype.ts";
import type { TensorEntry } from "../safetensors/write.ts";
import type { TensorBinding } from "./bind.ts";
import { gatherColumns } from "./transpose.ts";

/**
 * The inverse of `readPath`: entries that write a path's values as the named tensors that make it
 * up, as `dtype` (what keeps the values, unless given). Nothing is copied but what is converted or
 * transposed, one tensor at a time, so the values must not change until they are written.
 *
 * Throws `ShapeError` for values of another shape than the path's, and what `hostEntry` throws.
 */
export function splitPath(
  binding: TensorBinding,
  host: HostTensor,
  dtype: SafetensorsDtype = storedDtype(host.dtype),
): TensorEntry[] {
  if (!sameShape(host.shape, binding.shape)) {
    throw new ShapeError(
      `${binding.path} has shape ${formatShape(binding.shape)}, ` +
        `but values of shape ${formatShape(host.shape)} were given`,
      { shapes: [host.shape, binding.shape] },
    );
  }
  return binding.parts.map(({ name, shape, start, size }) => {
    const data = host.data.subarray(start, start + size);
    if (!binding.isTransposed) return hostEntry(name, { dtype: host.dtype, shape, data }, dtype);
    requireEncodable(name, host.dtype, dtype);
    return {
      name,
      dtype,
      shape,
      bytes: () => {
        const rows = hostArray(host.dtype, size);
        gatherColumns(data, shape, rows);
        return encode(name, rows, host.dtype, dtype);
      },
    };
  });
}
