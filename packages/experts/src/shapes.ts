import {
  type InitOptions,
  type MapTree,
  type RandomKey,
  type Shape,
  type Tensor,
  constantParameter,
  foldIn,
  normalParameter,
} from "@moiety/core";
import type { DenseOptions } from "./options.ts";
import type { FfnParams, GluParams, MlpParams } from "./params.ts";

/** The shape of every leaf of a tree; biases only where there are some. */
export type ShapesOf<Tree> = MapTree<Tree, Shape>;

/** Shapes of a network's weights, with `leading` axes (the experts) before them. */
export function ffnShapes(options: DenseOptions, leading: Shape): ShapesOf<FfnParams> {
  const { hiddenSize: input, intermediateSize, outputSize = input, gated, transposed } = options;
  const hidden = gated ? 2 * intermediateSize : intermediateSize;
  const matrix = (rows: number, columns: number): Shape =>
    transposed ? [...leading, columns, rows] : [...leading, rows, columns];
  const down = matrix(outputSize, intermediateSize);
  const downBias = options.bias ? { downBias: [...leading, outputSize] } : {};
  return gated
    ? {
        gateUp: matrix(hidden, input),
        down,
        ...(options.bias && { gateUpBias: [...leading, hidden] }),
        ...downBias,
      }
    : {
        up: matrix(hidden, input),
        down,
        ...(options.bias && { upBias: [...leading, hidden] }),
        ...downBias,
      };
}

/** Draws weights by their shapes: the n-th from `foldIn(key, n)`; biases are zero. */
export function drawFfn(
  shapes: ShapesOf<FfnParams>,
  deviation: number,
  key: RandomKey,
  options: InitOptions,
): FfnParams {
  const draw = (leaf: number, shape: Shape): Tensor =>
    normalParameter(foldIn(key, leaf), shape, deviation, options);
  const zero = (shape: Shape): Tensor => constantParameter(0, shape, options);
  const { down, downBias } = shapes;
  const tail = downBias ? { downBias: zero(downBias) } : {};
  if ("gateUp" in shapes) {
    const { gateUp, gateUpBias } = shapes;
    return {
      gateUp: draw(0, gateUp),
      down: draw(1, down),
      ...(gateUpBias && { gateUpBias: zero(gateUpBias) }),
      ...tail,
    } satisfies GluParams;
  }
  const { up, upBias } = shapes;
  return {
    up: draw(0, up),
    down: draw(1, down),
    ...(upBias && { upBias: zero(upBias) }),
    ...tail,
  } satisfies MlpParams;
}
