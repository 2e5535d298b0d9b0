import type { TensorSpec } from "../contract.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import { requireDType, requireFloat, requireSameDType } from "../ops/checks.ts";
import {
  add,
  cast,
  gatherRows,
  gelu,
  geluTanh,
  greater,
  groupedMatmul,
  mul,
  neg,
  relu,
  reluSquared,
  select,
  sigmoid,
  slice,
  zerosLike,
} from "../ops/index.ts";
import type { Tensor } from "../tensor.ts";
import { type Rows, combine, dispatch, gather, planChoices } from "./plan.ts";
import type { TokenChoice } from "./routing.ts";

/** An activation of the families. `silu` with `alpha` is x·σ(αx) (gpt-oss: 1.702). */
export type Activation = "relu" | "reluSquared" | "gelu" | "geluTanh" | "silu" | "identity";

/** How the up projection of a gated bank holds its two halves. */
export interface GateLayout {
  /** `concatenated`: all of one half, then the other; `interleaved`: row by row in turn. */
  readonly packing: "concatenated" | "interleaved";
  /** Which half comes first. */
  readonly first: "gate" | "up";
}

/** Limits of the halves before they are multiplied (gpt-oss, hy_v4); after `silu` for step3p7. */
export interface GateClamp {
  readonly limit: number;
  /** Whether the gate is limited before or after its activation. `before` unless given. */
  readonly when?: "before" | "after" | undefined;
}

/** Everything that says how a bank's weights are read: stated, never guessed from shapes. */
export interface FfnDescriptor {
  readonly activation: Activation;
  /** Steepness of `silu`. 1 unless given. */
  readonly alpha?: number | undefined;
  /** Present when the bank is gated: y = act(gate) · (up + upOffset). */
  readonly gate?: GateLayout | undefined;
  readonly clamp?: GateClamp | undefined;
  /** Added to the up half. 0 unless given (gpt-oss: 1). */
  readonly upOffset?: number | undefined;
  /** `[E, in, out]` instead of `[E, out, in]`. False unless given. */
  readonly transposed?: boolean | undefined;
}

/** A bank's weights, as leaves it picks or computes. I counts one half of a gated bank. */
export interface FfnWeights {
  /** `[E, I, H]`, or `[E, 2I, H]` when gated (last two swapped when transposed). */
  readonly up: Tensor;
  /** `[E, O, I]` (last two swapped when transposed). */
  readonly down: Tensor;
  /** `[E, I]` or `[E, 2I]`. */
  readonly upBias?: Tensor | undefined;
  /** `[E, O]`. */
  readonly downBias?: Tensor | undefined;
}

/** Sizes read from a bank's weights by its descriptor. */
export interface FfnSizes {
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** Columns of the up projection: I, or 2I when gated. */
  readonly hiddenSize: number;
  /** O. */
  readonly outputSize: number;
}

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
  const { up, down, upBias, downBias } = weights;
  return {
    descriptor,
    weights,
    mix: (x, { indices, outputWeights, inputWeights }) =>
      moeFfn(x, indices, outputWeights, up, down, upBias, downBias, inputWeights, { descriptor }),
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
];

const INPUT_NAMES = [
  "x",
  "indices",
  "outputWeights",
  "up",
  "down",
  "upBias?",
  "downBias?",
  "inputWeights?",
] as const;

/** Attributes of {@link moeFfn}. */
export type FfnAttributes = { readonly descriptor: FfnDescriptor };

/**
 * The whole expert path of a token-choice layer: group → gather → grouped matmul → activation →
 * grouped matmul → combine. `x [T, H]`, `indices [T, k]` i32 (`E`: no expert), `outputWeights
 * [T, k]`, optional `inputWeights [T, k]` → `[T, O]`, added in the order of choices. The weights may
 * be held in f16 or bf16; sums are those of the dtype of `x` all the same. Residual: the up
 * projection's output `[A, I or 2I]` in rows sorted by expert.
 */
export const moeFfn: Op<FfnInputs, FfnAttributes, Tensor, [hidden: Tensor]> =
  /*#__PURE__*/ defineOp<FfnInputs, FfnAttributes, Tensor, [hidden: Tensor]>({
    name: "moeFfn",
    inputs: INPUT_NAMES,
    infer([x, indices, weights, up, down, upBias, downBias, inputWeights], { descriptor }) {
      const name = "moeFfn";
      requireFloat(name, "x", x.dtype);
      requireDType(name, "indices", indices.dtype, ["i32"]);
      for (const other of [weights, upBias, downBias, inputWeights]) {
        if (other) requireSameDType(name, x, other);
      }
      requireSameDType(name, up, down);
      if (!isHalf(up)) requireSameDType(name, x, up);
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
    format: ([, , , up]) => (isHalf(up) ? up.dtype : undefined),
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

/** Whether weights are held in half floats. */
function isHalf({ dtype }: TensorSpec): boolean {
  return dtype === "f16" || dtype === "bf16";
}

/** Reads sizes by the descriptor. @throws ShapeError where the weights contradict it */
export function ffnSizes(
  up: readonly number[],
  down: readonly number[],
  descriptor: FfnDescriptor,
): FfnSizes {
  const [experts = 0, upRows = 0, upColumns = 0] = up;
  const [, downRows = 0, downColumns = 0] = down;
  const [hiddenSize, inputSize] = descriptor.transposed ? [upColumns, upRows] : [upRows, upColumns];
  const [outputSize, inner] = descriptor.transposed
    ? [downColumns, downRows]
    : [downRows, downColumns];
  const halves = descriptor.gate ? 2 : 1;
  if (
    up.length !== 3 ||
    down.length !== 3 ||
    down[0] !== experts ||
    inner * halves !== hiddenSize
  ) {
    throw new ShapeError(
      `expert weights [${up}] and [${down}] do not fit a ${descriptor.gate ? "gated" : "plain"} ` +
        `bank ${descriptor.transposed ? "[E, in, out]" : "[E, out, in]"}`,
      { shapes: [up, down] },
    );
  }
  return { experts, inputSize, hiddenSize, outputSize };
}

/**
 * The part between the projections: `[.., I]`, or `[.., 2I]` when gated, → `[.., I]`.
 * Sources: transformers' `ACT2FN`, and gpt_oss `GptOssExperts` for clamps, alpha and offset.
 */
export function activate(hidden: Tensor, descriptor: FfnDescriptor): Tensor {
  const { gate: layout, clamp, upOffset = 0 } = descriptor;
  if (!layout) return activation(hidden, descriptor);
  const [gate, up] = halvesOf(hidden, layout);
  const early = clamp && clamp.when !== "after";
  const activated = activation(early ? atMost(gate, clamp.limit) : gate, descriptor);
  const limited = clamp && !early ? atMost(activated, clamp.limit) : activated;
  const bounded = clamp ? neg(atMost(neg(atMost(up, clamp.limit)), clamp.limit)) : up;
  return mul(limited, upOffset === 0 ? bounded : add(bounded, upOffset));
}

/** Limited from above. NaN stays, unlike with `minimum`: a token that has one shall show it. */
function atMost(x: Tensor, limit: number): Tensor {
  return select(greater(x, limit), limit, x);
}

function activation(x: Tensor, { activation: kind, alpha = 1 }: FfnDescriptor): Tensor {
  switch (kind) {
    case "relu":
      return relu(x);
    case "reluSquared":
      return reluSquared(x);
    case "gelu":
      return gelu(x);
    case "geluTanh":
      return geluTanh(x);
    case "silu":
      return mul(x, sigmoid(alpha === 1 ? x : mul(x, alpha)));
    case "identity":
      return x;
    default:
      throw new ConfigError(`unknown activation ${String(kind)}`, "activation", kind);
  }
}

function halvesOf(hidden: Tensor, { packing, first }: GateLayout): [gate: Tensor, up: Tensor] {
  const leading = hidden.shape.slice(0, -1);
  const half = (hidden.shape.at(-1) ?? 0) / 2;
  const flat = hidden.reshape([-1, ...(packing === "interleaved" ? [half, 2] : [2, half])]);
  const rows = flat.shape[0] ?? 0;
  const take = (which: number): Tensor =>
    packing === "interleaved"
      ? slice(flat, { starts: [0, 0, which], sizes: [rows, half, 1] }).reshape([...leading, half])
      : slice(flat, { starts: [0, which, 0], sizes: [rows, 1, half] }).reshape([...leading, half]);
  return first === "gate" ? [take(0), take(1)] : [take(1), take(0)];
}

function decomposeFfn(
  [x, indices, outputWeights, up, down, upBias, downBias, inputWeights]: FfnInputs,
  descriptor: FfnDescriptor,
): Tensor {
  const { experts } = ffnSizes(up.shape, down.shape, descriptor);
  const sorted = planChoices(indices, experts);
  const rows = dispatch(x, sorted, inputWeights);
  const { dtype } = x;
  const weights = isHalf(up)
    ? { up: cast(up, { dtype }), down: cast(down, { dtype }) }
    : { up, down };
  const outputs = bankRows(rows, { ...weights, upBias, downBias }, descriptor);
  return combine(outputs, sorted, outputWeights);
}

/** A bank's two projections on rows that are grouped by expert: `[A, O]`. */
export function bankRows(
  rows: Rows,
  { up, down, upBias, downBias }: FfnWeights,
  descriptor: FfnDescriptor,
): Tensor {
  const { offsets, group } = rows;
  // A product reads rows through their index, but not weighted ones.
  const [source, index] = rows.weights ? [gather(rows), undefined] : [rows.source, rows.index];
  const layout = { transposed: descriptor.transposed ?? false };
  const biased = (values: Tensor, bias: Tensor | undefined): Tensor =>
    bias ? add(values, gatherRows(bias, group)) : values;
  const hidden = biased(groupedMatmul(source, up, offsets, index, layout), upBias);
  return biased(
    groupedMatmul(activate(hidden, descriptor), down, offsets, undefined, layout),
    downBias,
  );
}
