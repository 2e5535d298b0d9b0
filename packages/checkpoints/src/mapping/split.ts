import { type HostArray, ShapeError, formatShape, hostArray, sameShape } from "@moiety/core";
import { encode, hostEntry, requireEncodable, storedDtype } from "../host/encode.ts";
import type { HostTensor } from "../host/tensor.ts";
import type { SafetensorsDtype } from "../safetensors/dtype.ts";
import type { TensorEntry } from "../safetensors/write.ts";
import type { TensorBinding, TensorPart } from "./bind.ts";
import { gatherColumns, matricesOf } from "./transpose.ts";

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
  return binding.parts.map((part) => {
    const { name, shape, start, size, pieces } = part;
    if (!binding.isTransposed && !pieces) {
      const data = host.data.subarray(start, start + size);
      return hostEntry(name, { dtype: host.dtype, shape, data }, dtype);
    }
    requireEncodable(name, host.dtype, dtype);
    return {
      name,
      dtype,
      shape,
      bytes: () => {
        const values = hostArray(host.dtype, size);
        if (binding.isTransposed) gatherColumns(host.data, matricesOf(shape, part), start, values);
        else gatherPieces(host.data, part, values);
        return encode(name, values, host.dtype, dtype);
      },
    };
  });
}

function gatherPieces(
  source: HostArray,
  { start, size, pieces }: TensorPart,
  target: HostArray,
): void {
  const { count, step } = pieces ?? { count: 1, step: size };
  const length = size / count;
  for (let piece = 0; piece < count; piece++) {
    const first = start + piece * step;
    target.set(source.subarray(first, first + length), piece * length);
  }
}
