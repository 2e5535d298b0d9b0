import { ConfigError, ShapeError } from "../errors.ts";
import {
  type ProductFormat,
  add,
  gelu,
  geluTanh,
  greater,
  mul,
  neg,
  relu,
  reluSquared,
  select,
  sigmoid,
  slice,
} from "../ops/index.ts";
import { heldShape } from "../ops/held.ts";
import type { Tensor } from "../tensor.ts";

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
  /**
   * Format of quantised weights: the matrices are codes, and their scales stand beside them. Blocks
   * run along the last axis as it is stored, also when transposed; formats that round activations
   * take no transposed banks.
   */
  readonly format?: ProductFormat | undefined;
}

/**
 * A bank's weights, as leaves it picks or computes. I counts one half of a gated bank. Shapes of
 * matrices are those of their values: where the descriptor has a format, `up` and `down` are codes.
 */
export interface FfnWeights {
  /** `[E, I, H]`, or `[E, 2I, H]` when gated (last two swapped when transposed). */
  readonly up: Tensor;
  /** `[E, O, I]` (last two swapped when transposed). */
  readonly down: Tensor;
  /** `[E, I]` or `[E, 2I]`. */
  readonly upBias?: Tensor | undefined;
  /** `[E, O]`. */
  readonly downBias?: Tensor | undefined;
  /** Scales of quantised weights. */
  readonly upScales?: Tensor | undefined;
  /** Scales of quantised weights. */
  readonly downScales?: Tensor | undefined;
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
 * Reads sizes by the descriptor, from the shapes of the matrices as they are held (codes, where it has
 * a format). @throws ShapeError where the weights contradict it
 */
export function ffnSizes(
  up: readonly number[],
  down: readonly number[],
  descriptor: FfnDescriptor,
): FfnSizes {
  const { format } = descriptor;
  const [experts = 0, upRows = 0, upColumns = 0] = heldShape(up, format);
  const [, downRows = 0, downColumns = 0] = heldShape(down, format);
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
