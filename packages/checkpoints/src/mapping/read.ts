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
import { matricesOf, scatterRows } from "./transpose.ts";

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
    part,
  }));
  const data: HostArrays[D] = hostArray(dtype, sizeOf(binding.shape));
  for (const { info, part } of found) {
    if (binding.isTransposed) await readTransposed(reader, info, part, dtype, data);
    else await readPieces(reader, info, part, dtype, data);
  }
  return { dtype, shape: binding.shape, data };
}

async function readPieces(
  reader: TensorReader,
  info: TensorInfo,
  { start, size, pieces }: TensorPart,
  dtype: DType,
  data: HostArrays[DType],
): Promise<void> {
  const { count, step } = pieces ?? { count: 1, step: size };
  const length = count > 0 ? size / count : 0;
  const elementBytes = safetensorsBytes(info.dtype);
  for (let piece = 0; piece < count; piece++) {
    const [from, to] = [piece * length, start + piece * step];
    if (isSameRepresentation(info.dtype, dtype)) {
      const place = bytesOf(data).subarray(to * elementBytes, (to + length) * elementBytes);
      await reader.readInto(info.name, from * elementBytes, place);
      swapOnBigEndian(place, elementBytes);
    } else {
      const use = (view: TensorView, first: number): void => {
        decode(view, dtype, data, to + first - from);
      };
      await readChunks(reader, info, { from, to: from + length, unit: 1 }, use);
    }
  }
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
  part: TensorPart,
  dtype: DType,
  target: HostArrays[DType],
): Promise<void> {
  const matrices = matricesOf(part);
  const { width } = matrices;
  await readChunks(reader, info, { from: 0, to: part.size, unit: width }, (view, first) => {
    const rows = hostArray(dtype, sizeOf(view.shape));
    decode(view, dtype, rows, 0);
    scatterRows(rows, matrices, first / width, target, part.start);
  });
}

/** Which elements of a tensor are read, in chunks of whole units of so many. */
interface Range {
  readonly from: number;
  readonly to: number;
  readonly unit: number;
}

/** Reads a range of a tensor chunk by chunk. `use` gets each with its first element in the tensor. */
async function readChunks(
  reader: TensorReader,
  { name, dtype }: TensorInfo,
  { from, to, unit }: Range,
  use: (view: TensorView, first: number) => void,
): Promise<void> {
  if (from >= to) return;
  const elementBytes = safetensorsBytes(dtype);
  const step = Math.max(1, Math.floor(CHUNK / (unit * elementBytes))) * unit;
  const buffer = new Uint8Array(Math.min(step, to - from) * elementBytes);
  for (let first = from; first < to; first += step) {
    const count = Math.min(step, to - first);
    const bytes = buffer.subarray(0, count * elementBytes);
    await reader.readInto(name, first * elementBytes, bytes);
    use({ name, dtype, shape: [count], bytes }, first);
  }
}
