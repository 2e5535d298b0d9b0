import {
  ConfigError,
  type Initialized,
  type InitOptions,
  type Leaf,
  type NoState,
  type ProductFormat,
  type RandomKey,
  type Shape,
  ShapeError,
  type Tensor,
  activate,
  add,
  formatShape,
} from "@moiety/core";
import { type DenseOptions, descriptorOf } from "./options.ts";
import type { HeldFfnParams } from "./params.ts";
import { matrixParameter, requireFormat } from "./quantized-matrix.ts";
import { type ShapesOf, drawFfn, ffnShapes } from "./shapes.ts";
import { throughColumns, throughRows } from "./through.ts";

/** Options of {@link denseFfn}. */
export interface DenseFfnOptions extends DenseOptions {
  /** Format in which its matrices are held. Floats unless given. */
  readonly format?: ProductFormat | undefined;
}

/**
 * One feed-forward network that every token takes. Its matrices may be held in f16 or bf16, or all in
 * the codes of the format in its options.
 */
export interface DenseFfn {
  /** Width H. */
  readonly inputSize: number;
  /** Width O. */
  readonly outputSize: number;
  /** The shape of every parameter. */
  readonly shapes: ShapesOf<HeldFfnParams>;
  /** Draws parameters on the host. */
  init(key: RandomKey, options: InitOptions): Initialized<HeldFfnParams, NoState>;
  /** `[…, H]` → `[…, O]`. */
  forward(params: HeldFfnParams, x: Tensor): Tensor;
}

/**
 * Makes a dense feed-forward network, gated or plain: the maths of one expert.
 * @throws ConfigError naming the option
 */
export function denseFfn(options: DenseFfnOptions): DenseFfn {
  const { hiddenSize, outputSize = hiddenSize, initializerRange = 0.02, format } = options;
  const descriptor = descriptorOf(options);
  const shapes = ffnShapes(options, []);
  if (format !== undefined) checkFormat(format, options, shapes);
  const project = (x: Tensor, weight: Leaf, bias: Tensor | undefined): Tensor => {
    const y = descriptor.transposed ? throughColumns(x, weight) : throughRows(x, weight, format);
    return bias ? add(y, bias) : y;
  };
  return {
    inputSize: hiddenSize,
    outputSize,
    shapes,
    init(key, init) {
      const draw = (own: RandomKey, shape: Shape): Leaf =>
        matrixParameter(own, shape, initializerRange, init, format);
      return { params: drawFfn(shapes, draw, key, init), state: {} };
    },
    forward(params, x) {
      if (x.shape.at(-1) !== hiddenSize) {
        throw new ShapeError(
          `x is ${formatShape(x.shape)}, but its last dimension must be ${hiddenSize}`,
          { shapes: [x.shape] },
        );
      }
      const { down, downBias } = params;
      const [up, upBias] =
        "gateUp" in params ? [params.gateUp, params.gateUpBias] : [params.up, params.upBias];
      return project(activate(project(x, up, upBias), descriptor), down, downBias);
    },
  };
}

function checkFormat(
  format: ProductFormat,
  { transposed }: DenseFfnOptions,
  shapes: ShapesOf<HeldFfnParams>,
): void {
  requireFormat(format, shapes as Readonly<Record<string, Shape>>);
  if (!transposed) return;
  const problem = `a dense network in ${format} holds its matrices [out, in]`;
  throw new ConfigError(problem, "transposed", transposed);
}
