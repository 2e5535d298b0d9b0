import {
  type InitOptions,
  type Leaf,
  type MapTree,
  type RandomKey,
  type Shape,
  constantParameter,
  foldIn,
} from "@moiety/core";
import type { DenseOptions } from "./options.ts";
import type { FfnParams, HeldFfnParams } from "./params.ts";

/** The shape of every leaf of a tree; biases only where there are some. */
export type ShapesOf<Tree> = MapTree<Tree, Shape>;

/** Shapes of a network's weights, with `leading` axes (the experts) before them. */
export function ffnShapes(options: DenseOptions, leading: Shape): ShapesOf<FfnParams> {
  const { hiddenSize: input, intermediateSize, outputSize = input } = options;
  const { bias, gated, transposed } = options;
  const hidden = gated ? 2 * intermediateSize : intermediateSize;
  const matrix = (rows: number, columns: number): Shape =>
    transposed ? [...leading, columns, rows] : [...leading, rows, columns];
  const up = matrix(hidden, input);
  const down = matrix(outputSize, intermediateSize);
  const upBias = [...leading, hidden];
  const downBias = [...leading, outputSize];
  return gated
    ? { gateUp: up, down, ...(bias && { gateUpBias: upBias, downBias }) }
    : { up, down, ...(bias && { upBias, downBias }) };
}

/** Draws weights by their shapes: the n-th matrix from `foldIn(key, n)`; biases, which come last, are zero. */
export function drawFfn(
  shapes: ShapesOf<FfnParams>,
  draw: (key: RandomKey, shape: Shape) => Leaf,
  key: RandomKey,
  options: InitOptions,
): HeldFfnParams {
  const leaves = Object.entries(shapes as Readonly<Record<string, Shape>>).map(
    ([name, shape], leaf) => [
      name,
      name.endsWith("Bias") ? constantParameter(0, shape, options) : draw(foldIn(key, leaf), shape),
    ],
  );
  return Object.fromEntries(leaves) as HeldFfnParams;
}
