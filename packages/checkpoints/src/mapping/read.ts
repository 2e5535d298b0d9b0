import {
  ConfigError,
  type DType,
  FormatError,
  type HostArrays,
  formatShape,
  hostArray,
  sameShape,
  sizeOf,
} from "@moiety/core";
import { bytesOf, swapOnBigEndian } from "../host/byte-order.ts";
import { decode, isSameRepresentation, requireDecodable } from "../host/decode.ts";
import type { HostTensor } from "../host/tensor.ts";
import { safetensorsBytes } from "../safetensors/dtype.ts";
import type { TensorInfo, TensorReader, TensorView } from "../safetensors/info.ts";
import type { TensorBinding, TensorPart } from "./bind.ts";
import { scatterRows } from "./transpose.ts";

/** Bytes held at once where they must be converted on their way. */
const CHUNK = 1 << 22;

/**
 * Reads all tensors of a path into one host array: `f32` or `f64` for floats, or another dtype that
 * `toHost` converts to. Each tensor is read straight into its place; where bytes must be converted
 * or transposed, a few megabytes at a time are held beside it.
 *
 * Throws `ConfigError` for a tensor that is not there, `FormatError` for one of another shape, and
 * what `toHost` throws.
 */
export async function readPath<D extends DType>(
  reader: TensorReader,
  binding: TensorBinding,
  dtype: D,
): Promise<HostTensor<D>> {
  const found = binding.parts.map((part) => ({
    info: findPart(reader, part, binding.path, dtype),
    start: part.start,
  }));
  const data: HostArrays[D] = hostArray(dtype, sizeOf(binding.shape));
  for (const { info, start } of found) {
    if (binding.isTransposed) await readTransposed(reader, info, dtype, data, start);
    else if (isSameRepresentation(info.dtype, dtype)) {
      const elementBytes = safetensorsBytes(info.dtype);
      const first = start * elementBytes;
      const place = bytesOf(data).subarray(first, first + info.byteLength);
      await reader.readInto(info.name, 0, place);
      swapOnBigEndian(place, elementBytes);
    } else {
      await readChunks(reader, info, 1, (view, first) => decode(view, dtype, data, start + first));
    }
  }
  return { dtype, shape: binding.shape, data };
}

function findPart(
  reader: TensorReader,
  { name, shape }: TensorPart,
  path: string,
  dtype: DType,
): TensorInfo {
  const info = reader.tensors.get(name);
  if (info === undefined) {
    throw new ConfigError(
      `${path} needs the tensor "${name}", which the checkpoint does not hold; ` +
        "compare them with checkTensors first",
      "tensor",
      name,
    );
  }
  if (!sameShape(info.shape, shape)) {
    throw new FormatError(
      `${path} needs the tensor "${name}" in shape ${formatShape(shape)}, ` +
        `but it is ${formatShape(info.shape)}; check that configuration and weights belong together`,
      info.offset,
      { shapes: [info.shape] },
    );
  }
  requireDecodable(name, info.dtype, dtype);
  return info;
}

async function readTransposed(
  reader: TensorReader,
  info: TensorInfo,
  dtype: DType,
  target: HostArrays[DType],
  start: number,
): Promise<void> {
  const width = info.shape.at(-1) ?? 1;
  await readChunks(reader, info, width, (view, first) => {
    const rows = hostArray(dtype, sizeOf(view.shape));
    decode(view, dtype, rows, 0);
    scatterRows(rows, info.shape, first / width, target, start);
  });
}

/** Reads a tensor in pieces of whole units of so many elements. `use` gets each with its first element. */
async function readChunks(
  reader: TensorReader,
  { name, dtype, shape }: TensorInfo,
  unit: number,
  use: (view: TensorView, first: number) => void,
): Promise<void> {
  const total = sizeOf(shape);
  if (total === 0) return;
  const elementBytes = safetensorsBytes(dtype);
  const step = Math.max(1, Math.floor(CHUNK / (unit * elementBytes))) * unit;
  const buffer = new Uint8Array(Math.min(step, total) * elementBytes);
  for (let first = 0; first < total; first += step) {
    const count = Math.min(step, total - first);
    const bytes = buffer.subarray(0, count * elementBytes);
    await reader.readInto(name, first * elementBytes, bytes);
    use({ name, dtype, shape: [count], bytes }, first);
  }
}
