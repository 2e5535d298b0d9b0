import type { TensorSpec } from "../contract.ts";
import type { FloatDType } from "../dtype.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import { requireDType, requireFloat, requireSameDType } from "../ops/checks.ts";
import { checkHeld, heldFormat, heldNumbers, heldRows } from "../ops/held.ts";
import { add, gatherRows, groupedMatmul, roundsActivations, zerosLike } from "../ops/index.ts";
import type { Tensor } from "../tensor.ts";
import { type FfnDescriptor, type FfnWeights, activate, ffnSizes } from "./ffn-descriptor.ts";
import { type Rows, combine, dispatch, gather, planChoices } from "./plan.ts";
import type { TokenChoice } from "./routing.ts";

/**
 * What a bank whose maths is an FFN offers: its weights, how they are read, and the one fused op
 * that runs them. The bank brings the op along, so that a layer of other banks does not carry it.
 */
export interface FusedFfn {
  readonly descriptor: FfnDescriptor;
  readonly weights: FfnWeights;
  /** Issues {@link moeFfn}: `x [T, H]` → `[T, O]`. */
  mix(x: Tensor, routing: TokenChoice): Tensor;
}

/** Puts an FFN's weights together with the op that runs them. */
export function fusedFfn(descriptor: FfnDescriptor, weights: FfnWeights): FusedFfn {
  const { up, down, upBias, downBias, upScales, downScales } = weights;
  return {
    descriptor,
    weights,
    mix: (x, { indices, outputWeights, inputWeights }) =>
      moeFfn(
        x,
        indices,
        outputWeights,
        up,
        down,
        upBias,
        downBias,
        inputWeights,
        upScales,
        downScales,
        { descriptor },
      ),
  };
}

type FfnInputs = [
  x: Tensor,
  indices: Tensor,
  outputWeights: Tensor,
  up: Tensor,
  down: Tensor,
  upBias?: Tensor | undefined,
  downBias?: Tensor | undefined,
  inputWeights?: Tensor | undefined,
  upScales?: Tensor | undefined,
  downScales?: Tensor | undefined,
];

/** The inputs that may have a gradient, and the indices. */
const INPUT_NAMES: readonly string[] = [
  "x",
  "indices",
  "outputWeights",
  "up",
  "down",
  "upBias?",
  "downBias?",
  "inputWeights?",
];

/** Attributes of {@link moeFfn}. */
export type FfnAttributes = { readonly descriptor: FfnDescriptor };

/**
 * The whole expert path of a token-choice layer: group → gather → grouped matmul → activation →
 * grouped matmul → combine. `x [T, H]`, `indices [T, k]` i32 (`E`: no expert), `outputWeights
 * [T, k]`, optional `inputWeights [T, k]` → `[T, O]`, added in the order of choices. The weights may
 * be held in f16 or bf16, or be codes and scales of the descriptor's format (see {@link dequantize});
 * products and sums are those of the dtype of `x` all the same, and only `x`, weights of choices and
 * biases then have gradients. Residual: the up projection's output `[A, I or 2I]` in rows sorted by
 * expert.
 */
export const moeFfn: Op<FfnInputs, FfnAttributes, Tensor, [hidden: Tensor]> =
  /*#__PURE__*/ defineOp<FfnInputs, FfnAttributes, Tensor, [hidden: Tensor]>({
    name: "moeFfn",
    inputs: /*#__PURE__*/ INPUT_NAMES.concat("upScales?", "downScales?"),
    infer(inputs, { descriptor }) {
      const [x, indices, weights, up, down, upBias, downBias, inputWeights] = inputs;
      const [upScales, downScales] = inputs.slice(INPUT_NAMES.length);
      const name = "moeFfn";
      requireFloat(name, "x", x.dtype);
      requireDType(name, "indices", indices.dtype, ["i32"]);
      for (const other of [weights, upBias, downBias, inputWeights]) {
        if (other) requireSameDType(name, x, other);
      }
      if (!descriptor.format) requireSameDType(name, up, down);
      checkMatrix(x, up, upScales, descriptor);
      checkMatrix(x, down, downScales, descriptor);
      const sizes = ffnSizes(up.shape, down.shape, descriptor);
      const [tokens = 0, width] = x.shape;
      const fits =
        x.shape.length === 2 &&
        width === sizes.inputSize &&
        indices.shape[0] === tokens &&
        indices.shape.length === 2 &&
        weights.shape.join() === indices.shape.join() &&
        (!inputWeights || inputWeights.shape.join() === indices.shape.join()) &&
        (!upBias || upBias.shape.join() === `${sizes.experts},${sizes.hiddenSize}`) &&
        (!downBias || downBias.shape.join() === `${sizes.experts},${sizes.outputSize}`);
      if (!fits) {
        throw new ShapeError(
          "moeFfn: x must be [T, H], indices and weights [T, k], biases [E, width of their projection]",
          { op: name, shapes: [x.shape, indices.shape, weights.shape, up.shape, down.shape] },
        );
      }
      return { shape: [tokens, sizes.outputSize], dtype: x.dtype };
    },
    residuals([x, indices, , up, down], { descriptor }) {
      const { hiddenSize } = ffnSizes(up.shape, down.shape, descriptor);
      const assignments = (indices.shape[0] ?? 0) * (indices.shape[1] ?? 0);
      return [{ shape: [assignments, hiddenSize], dtype: x.dtype }];
    },
    gradient({ inputs, residuals, gradients: [gradient], attributes }) {
      if (!gradient) return [];
      const [x, indices, outputWeights, up, down, upBias, downBias, inputWeights] = inputs;
      const found = moeFfnBackward(
        gradient,
        residuals[0],
        x,
        indices,
        outputWeights,
        up,
        down,
        upBias,
        downBias,
        inputWeights,
        attributes,
      );
      const [dx, dWeights, dUp, dDown, dUpBias, dDownBias, dInputWeights] = found;
      return [dx, undefined, dWeights, dUp, dDown, dUpBias, dDownBias, dInputWeights];
    },
    backward: () => moeFfnBackward,
    format: ([, , , up], { descriptor }) => heldFormat(up, descriptor.format),
    decompose: (inputs, { descriptor }) => decomposeFfn(inputs, descriptor),
  });

type BackwardInputs = [
  gradient: Tensor,
  hidden: Tensor,
  x: Tensor,
  indices: Tensor,
  outputWeights: Tensor,
  up: Tensor,
  down: Tensor,
  upBias?: Tensor | undefined,
  downBias?: Tensor | undefined,
  inputWeights?: Tensor | undefined,
];

type BackwardOutputs = [
  x: Tensor,
  outputWeights: Tensor,
  up: Tensor,
  down: Tensor,
  upBias: Tensor,
  downBias: Tensor,
  inputWeights: Tensor,
];

/**
 * Gradients of {@link moeFfn} from the gradient of its output `[T, O]` and its residual. Those of
 * absent inputs are empty tensors of shape `[0]`.
 */
export const moeFfnBackward: Op<BackwardInputs, FfnAttributes, BackwardOutputs> =
  /*#__PURE__*/ defineOp<BackwardInputs, FfnAttributes, BackwardOutputs>({
    name: "moeFfnBackward",
    // A spread would count as a side effect, and every bundle would carry this op.
    inputs: /*#__PURE__*/ ["gradient", "hidden"].concat(INPUT_NAMES),
    outputs: ["x", "outputWeights", "up", "down", "upBias", "downBias", "inputWeights"],
    infer([, , x, , outputWeights, up, down, upBias, downBias, inputWeights]) {
      const of = (input: { readonly shape: readonly number[] } | undefined) => ({
        shape: input?.shape ?? [0],
        dtype: x.dtype,
      });
      return [
        of(x),
        of(outputWeights),
        of(up),
        of(down),
        of(upBias),
        of(downBias),
        of(inputWeights),
      ];
    },
    decompose([gradient, , x, indices, ...rest], { descriptor }) {
      const [outputWeights, up, down, upBias, downBias, inputWeights] = rest;
      const inputs = [x, outputWeights, up, down, upBias, downBias, inputWeights];
      const forward = ([tx, tw, tu, td, tub, tdb, tiw]: readonly (Tensor | undefined)[]): Tensor =>
        decomposeFfn(
          [tx as Tensor, indices, tw as Tensor, tu as Tensor, td as Tensor, tub, tdb, tiw],
          descriptor,
        );
      const gradients = pullBack(inputs, (...traced) => [forward(traced)], [gradient]);
      const empty = (): Tensor => x.backend.tensor([], { shape: [0], dtype: x.dtype });
      return inputs.map((input, index) =>
        input ? (gradients[index] ?? zerosLike(input)) : empty(),
      ) as BackwardOutputs;
    },
  });

/** Checks how a matrix is held. @throws DTypeError, ShapeError, ConfigError */
function checkMatrix(
  x: TensorSpec,
  matrix: TensorSpec,
  scales: TensorSpec | undefined,
  { format, transposed }: FfnDescriptor,
): void {
  const op = "moeFfn";
  checkHeld(op, x, matrix, scales, format);
  if (!format || !transposed || !roundsActivations(format)) return;
  const problem = `${op}: ${format} rounds what is added up in blocks, so banks are [E, out, in]`;
  throw new ConfigError(problem, "transposed", transposed, { op });
}

function decomposeFfn(
  [x, indices, outputWeights, up, down, upBias, downBias, inputWeights, ...scales]: FfnInputs,
  descriptor: FfnDescriptor,
): Tensor {
  const { experts } = ffnSizes(up.shape, down.shape, descriptor);
  const sorted = planChoices(indices, experts);
  const rows = dispatch(x, sorted, inputWeights);
  const [upScales, downScales] = scales;
  const weights = { up, down, upBias, downBias, upScales, downScales };
  const outputs = bankRows(rows, weights, descriptor);
  return combine(outputs, sorted, outputWeights);
}

/** A bank's two projections on rows that are grouped by expert: `[A, O]`. */
export function bankRows(rows: Rows, weights: FfnWeights, descriptor: FfnDescriptor): Tensor {
  const { offsets, group } = rows;
  const { up, down, upBias, downBias, upScales, downScales } = weights;
  // A product reads rows through their index, but not weighted ones.
  const [source, index] = rows.weights ? [gather(rows), undefined] : [rows.source, rows.index];
  const layout = { transposed: descriptor.transposed ?? false };
  const project = (
    x: Tensor,
    held: Tensor,
    scales: Tensor | undefined,
    bias: Tensor | undefined,
    order?: Tensor,
  ): Tensor => {
    const { format } = descriptor;
    const matrix = heldNumbers(held, scales, format, x.dtype as FloatDType);
    const values = groupedMatmul(heldRows(x, format), matrix, offsets, order, layout);
    return bias ? add(values, gatherRows(bias, group)) : values;
  };
  const hidden = project(source, up, upScales, upBias, index);
  return project(activate(hidden, descriptor), down, downScales, downBias);
}
