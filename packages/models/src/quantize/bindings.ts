import type { TensorBinding, TensorPart } from "@moiety/checkpoints";
import {
  type Leaf,
  type Shape,
  type Tensor,
  isQuantized,
  quantizedFormats,
  storedFormat,
} from "@moiety/core";
import { planLeaf, swapLast } from "./leaves.ts";
import { type Quantization, expertFormats } from "./quantization.ts";

/** Ends of the paths of a quantised leaf's tensors in a binding. */
export const CODES = ".codes";
export const SCALES = ".scales";
/** What a file calls the scales of the codes under a name. */
const SCALE_SUFFIX = "_scale";

/**
 * The bindings of a leaf in a checkpoint of quantised weights: codes under the names of its numbers,
 * scales under those with `_scale` behind them. Both lie as in the tree, also where the numbers would
 * lie the other way round. Other leaves keep their binding.
 */
export function heldBindings(binding: TensorBinding, quantization: Quantization): TensorBinding[] {
  const { path, shape } = binding;
  const plan = planLeaf(path, shape, quantization);
  if (plan.kind !== "codes") return [binding];
  const { codesPerByte, block } = quantizedFormats[storedFormat(expertFormats[plan.format])];
  const width = shape.at(-1) ?? 0;
  const straight = { ...binding, isTransposed: false, storage: undefined };
  const inTree = (part: TensorPart): Shape =>
    binding.isTransposed ? swapLast(part.shape) : part.shape;
  const byShare = (share: number, held: (numbers: Shape) => Shape, suffix: string): TensorPart[] =>
    binding.parts.map((part) => ({
      name: part.name + suffix,
      shape: held(inTree(part)),
      start: part.start / share,
      size: part.size / share,
      ...(part.pieces && { pieces: { ...part.pieces, step: part.pieces.step / share } }),
    }));
  const codesOf = (numbers: Shape): Shape => numbers.with(-1, (numbers.at(-1) ?? 0) / codesPerByte);
  const scalesOf = (numbers: Shape): Shape =>
    block === undefined ? numbers.slice(0, -1) : numbers.with(-1, (numbers.at(-1) ?? 0) / block);
  return [
    {
      ...straight,
      path: path + CODES,
      shape: codesOf(shape),
      parts: byShare(codesPerByte, codesOf, ""),
    },
    {
      ...straight,
      path: path + SCALES,
      shape: scalesOf(shape),
      parts: byShare(block ?? width, scalesOf, SCALE_SUFFIX),
    },
  ];
}

/** A leaf of tensors by their paths: one, or the codes and scales below it. */
export function leafAt<T>(
  tensors: ReadonlyMap<string, T>,
  path: string,
): T | { readonly codes: T; readonly scales: T } | undefined {
  const [codes, scales] = [tensors.get(path + CODES), tensors.get(path + SCALES)];
  if (codes === undefined || scales === undefined) return tensors.get(path);
  return { codes, scales };
}

/** The tensors of a leaf by the paths of their bindings. */
export function tensorsOf({
  path,
  leaf,
}: {
  readonly path: string;
  readonly leaf: Leaf;
}): (readonly [path: string, tensor: Tensor])[] {
  if (!isQuantized(leaf)) return [[path, leaf]];
  return [
    [path + CODES, leaf.codes],
    [path + SCALES, leaf.scales],
  ];
}
