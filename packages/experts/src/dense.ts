import {
  type Initialized,
  type InitOptions,
  type NoState,
  type RandomKey,
  ShapeError,
  type Tensor,
  activate,
  add,
  formatShape,
} from "@moiety/core";
import { weightsOf } from "./bank.ts";
import { throughColumns, throughRows } from "./halves.ts";
import { type DenseOptions, descriptorOf } from "./options.ts";
import type { FfnParams } from "./params.ts";
import { type ShapesOf, drawFfn, ffnShapes } from "./shapes.ts";

/** One feed-forward network that every token takes. Its matrices may be held in f16 or bf16. */
export interface DenseFfn {
  /** Width H. */
  readonly inputSize: number;
  /** Width O. */
  readonly outputSize: number;
  /** The shape of every parameter. */
  readonly shapes: ShapesOf<FfnParams>;
  /** Draws parameters on the host. */
  init(key: RandomKey, options: InitOptions): Initialized<FfnParams, NoState>;
  /** `[…, H]` → `[…, O]`. */
  forward(params: FfnParams, x: Tensor): Tensor;
}

/** Makes a dense feed-forward network, gated or plain: the maths of one expert. */
export function denseFfn(options: DenseOptions): DenseFfn {
  const { hiddenSize, outputSize = hiddenSize, initializerRange = 0.02 } = options;
  const descriptor = descriptorOf(options);
  const shapes = ffnShapes(options, []);
  const project = (x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor => {
    const y = descriptor.transposed ? throughColumns(x, weight) : throughRows(x, weight);
    return bias ? add(y, bias) : y;
  };
  return {
    inputSize: hiddenSize,
    outputSize,
    shapes,
    init(key, init) {
      return { params: drawFfn(shapes, initializerRange, key, init), state: {} };
    },
    forward(params, x) {
      if (x.shape.at(-1) !== hiddenSize) {
        throw new ShapeError(
          `x is ${formatShape(x.shape)}, but its last dimension must be ${hiddenSize}`,
          { shapes: [x.shape] },
        );
      }
      const { up, down, upBias, downBias } = weightsOf(params);
      return project(activate(project(x, up, upBias), descriptor), down, downBias);
    },
  };
}
