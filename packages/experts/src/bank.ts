import {
  type ExpertBank,
  type FfnDescriptor,
  type FfnWeights,
  type FusedFfn,
  type Initialized,
  type InitOptions,
  type NoState,
  type RandomKey,
  type Rows,
  type Shape,
  type Tensor,
  bankRows,
  fusedFfn,
  normalParameter,
} from "@moiety/core";
import { type DenseOptions, descriptorOf, requireSize } from "./options.ts";
import type { FfnParams } from "./params.ts";
import { type ShapesOf, drawFfn, ffnShapes } from "./shapes.ts";

/** A bank that says the shape of every leaf, so that files can be read into it. */
export interface ShapedBank<Params> extends ExpertBank<Params> {
  /** The shape of every parameter. */
  // Without NoInfer a wrapper would take the tree of shapes for that of parameters.
  readonly shapes: ShapesOf<NoInfer<Params>>;
}

/** A bank whose experts are feed-forward networks, so that a layer may issue one fused op. */
export interface FfnBank<Params extends FfnParams> extends ShapedBank<Params> {
  /** How its weights are read. */
  readonly descriptor: FfnDescriptor;
  /** Standard deviation of the initial weights. */
  readonly initializerRange: number;
  ffn(params: Params): FusedFfn;
}

/** Options of a bank of E experts. */
export type BankOptions<Options> = Options & {
  /** Number of experts E. */
  readonly experts: number;
};

/** Makes a bank of plain or gated experts. */
export function ffnBank(options: BankOptions<DenseOptions>): FfnBank<FfnParams> {
  const { experts, hiddenSize, outputSize = hiddenSize, initializerRange = 0.02 } = options;
  requireSize("experts", experts);
  const descriptor = descriptorOf(options);
  const shapes = ffnShapes(options, [experts]);
  return {
    experts,
    inputSize: hiddenSize,
    outputSize,
    descriptor,
    initializerRange,
    shapes,
    init(key: RandomKey, init: InitOptions): Initialized<FfnParams, NoState> {
      const draw = (own: RandomKey, shape: Shape): Tensor =>
        normalParameter(own, shape, initializerRange, init);
      return { params: drawFfn(shapes, draw, key, init) as FfnParams, state: {} };
    },
    ffn: (params) => fusedFfn(descriptor, weightsOf(params)),
    forward: (params: FfnParams, rows: Rows): Tensor =>
      bankRows(rows, weightsOf(params), descriptor),
  };
}

/** The weights under the names of the fused op. */
export function weightsOf(params: FfnParams): FfnWeights {
  if (!("gateUp" in params)) return params;
  const { gateUp, gateUpBias, down, downBias } = params;
  return { up: gateUp, down, upBias: gateUpBias, downBias };
}
