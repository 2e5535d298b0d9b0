import type { Shape } from "@moiety/core";
import type { TensorInfo } from "../safetensors/info.ts";
import { type TensorBinding, type TensorPart, swapLast } from "./bind.ts";

/** Values that share a scale in MXFP4. */
export const MXFP4_BLOCK = 32;

/** What of a tensor's header decides how a part is held. */
export type HeldInfo = Pick<TensorInfo, "shape"> & Partial<Pick<TensorInfo, "dtype">>;

/** A tensor of the file that a part needs. */
export interface HeldTensor {
  readonly name: string;
  readonly shape: Shape;
  /** What it is to the part. */
  readonly role: "values" | "codes" | "scales";
}

/**
 * The tensors of the file that hold a part: its own name, or with it or in its place those of its
 * binding's storage, where the file has them.
 */
export function heldTensors(
  { storage }: TensorBinding,
  { name, shape }: TensorPart,
  tensors: ReadonlyMap<string, HeldInfo>,
): HeldTensor[] {
  const plain: HeldTensor = { name, shape, role: "values" };
  const own = tensors.get(name);
  if (storage?.kind === "mxfp4" && own === undefined) {
    const [blocks, scales] = [`${name}_blocks`, `${name}_scales`];
    if (!tensors.has(blocks) && !tensors.has(scales)) return [plain];
    const rows = swapLast(shape);
    const last = Math.ceil((rows.pop() ?? 0) / MXFP4_BLOCK);
    return [
      { name: blocks, shape: [...rows, last, MXFP4_BLOCK / 2], role: "codes" },
      { name: scales, shape: [...rows, last], role: "scales" },
    ];
  }
  if (storage?.kind === "scaledBlocks" && own?.dtype?.startsWith("F8") && shape.length >= 2) {
    const counts = [...shape];
    const [rows = 0, columns = 0] = counts.splice(-2);
    const [height, width] = storage.blockSize;
    counts.push(Math.ceil(rows / height), Math.ceil(columns / width));
    return [
      { ...plain, role: "codes" },
      { name: `${name}_scale_inv`, shape: counts, role: "scales" },
    ];
  }
  return [plain];
}
