import {
  ConfigError,
  type DType,
  DTypeError,
  FormatError,
  type HostArray,
  type Shape,
  formatShape,
  sameShape,
} from "@moiety/core";
import { bytesOf, swapOnBigEndian } from "../host/byte-order.ts";
import { decode, isSameRepresentation, requireDecodable } from "../host/decode.ts";
import { safetensorsBytes } from "../safetensors/dtype.ts";
import type { TensorInfo, TensorReader } from "../safetensors/info.ts";
import { type TensorBinding, type TensorPart, swapLast } from "./bind.ts";
import { type HeldTensor, heldTensors } from "./held.ts";
import { mxfp4Reader } from "./mxfp4.ts";
import { scaledReader } from "./scaled-blocks.ts";

/** Reads `count` elements from the element `from` on, as values, into `target` from `at` on. */
export type ElementReader = (
  from: number,
  count: number,
  target: HostArray,
  at: number,
) => Promise<void>;

/** A part as the checkpoint holds it, however that is. */
export interface StoredPart {
  /** Shape in which its elements lie. */
  readonly shape: Shape;
  /** Whether its last two axes lie the other way round than in the tree. */
  readonly isTransposed: boolean;
  /** The tensors that hold it. */
  readonly infos: readonly TensorInfo[];
  /** Ranges begin and end at multiples of so many elements. */
  readonly unit: number;
  readonly read: ElementReader;
}

/**
 * Finds the tensors of a part and says how its values are read.
 *
 * Throws `ConfigError` for a tensor that is not there, `FormatError` for one of another shape, and
 * `DTypeError` where its values are not read as `dtype`.
 */
export async function openPart(
  reader: TensorReader,
  binding: TensorBinding,
  part: TensorPart,
  dtype: DType,
): Promise<StoredPart> {
  const { path, isTransposed, storage } = binding;
  const held = heldTensors(binding, part, reader.tensors);
  const infos = held.map((one) => findTensor(reader, one, path));
  const [first, second] = infos;
  if (first === undefined) throw new ConfigError(`${path} has no tensors`, "tensor", path);
  if (second === undefined) {
    requireDecodable(first.name, first.dtype, dtype);
    const read = plainReader(reader, first, dtype);
    return { shape: part.shape, isTransposed, infos, unit: 1, read };
  }
  if (dtype !== "f32" && dtype !== "f64") {
    throw new DTypeError(
      `${path} is held as codes and scales; read it as f32 or f64, not ${dtype}`,
    );
  }
  if (storage?.kind !== "scaledBlocks") {
    const shape = swapLast(part.shape);
    const { read, unit } = mxfp4Reader(reader, first, second, shape);
    return { shape, isTransposed: !isTransposed, infos, unit, read };
  }
  const values = plainReader(reader, first, dtype);
  const read = await scaledReader(reader, first, second, storage.blockSize, values);
  return { shape: part.shape, isTransposed, infos, unit: 1, read };
}

/** Bytes in a checkpoint that hold a part. */
export function storedBytes(
  binding: TensorBinding,
  part: TensorPart,
  tensors: ReadonlyMap<string, TensorInfo>,
): number {
  return heldTensors(binding, part, tensors).reduce(
    (sum, { name }) => sum + (tensors.get(name)?.byteLength ?? 0),
    0,
  );
}

function findTensor(reader: TensorReader, { name, shape }: HeldTensor, path: string): TensorInfo {
  const info = reader.tensors.get(name);
  if (info === undefined) {
    throw new ConfigError(
      `${path} needs the tensor "${name}", which the checkpoint does not hold; ` +
        "compare them with checkTensors first",
      "tensor",
      name,
    );
  }
  if (sameShape(info.shape, shape)) return info;
  throw new FormatError(
    `${path} needs the tensor "${name}" in shape ${formatShape(shape)}, ` +
      `but it is ${formatShape(info.shape)}; check that configuration and weights belong together`,
    info.offset,
    { shapes: [info.shape] },
  );
}

function plainReader(reader: TensorReader, info: TensorInfo, dtype: DType): ElementReader {
  const { name, dtype: stored } = info;
  const unit = safetensorsBytes(stored);
  if (isSameRepresentation(stored, dtype)) {
    return async (from, count, target, at) => {
      const place = bytesOf(target).subarray(at * unit, (at + count) * unit);
      await reader.readInto(name, from * unit, place);
      swapOnBigEndian(place, unit);
    };
  }
  let buffer = new Uint8Array();
  return async (from, count, target, at) => {
    if (buffer.length < count * unit) buffer = new Uint8Array(count * unit);
    const bytes = buffer.subarray(0, count * unit);
    await reader.readInto(name, from * unit, bytes);
    decode({ name, dtype: stored, shape: [count], bytes }, dtype, target, at);
  };
}
