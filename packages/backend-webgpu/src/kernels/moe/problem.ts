import { type FfnDescriptor, ffnSizes } from "@moiety/core";
import type { Input, KernelCall } from "../../kernel.ts";
import type { Bank } from "../products/grouped-product.ts";
import { type HeldWeights, heldWeights } from "../products/held.ts";

/** A call of the fused FFN, forward or backward, with its sizes. */
export interface FfnProblem {
  /** `[T, H]`, or `[A, H]` where each choice of a token reads its own row. */
  readonly x: Input;
  readonly rowPerChoice: boolean;
  /** `[T, k]`. */
  readonly indices: Input;
  readonly outputWeights: Input;
  readonly up: HeldWeights;
  readonly down: HeldWeights;
  readonly upBias: Input | undefined;
  readonly downBias: Input | undefined;
  readonly inputWeights: Input | undefined;
  readonly descriptor: FfnDescriptor;
  /** T. */
  readonly tokens: number;
  /** k. */
  readonly choices: number;
  /** A = T·k. */
  readonly rows: number;
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** Columns of the up projection. */
  readonly hiddenSize: number;
  /** I. */
  readonly innerSize: number;
  /** O. */
  readonly outputSize: number;
}

/** Reads a call whose input x is number `first`; the others follow it. */
export function ffnProblem(call: KernelCall, first: number): FfnProblem {
  const { descriptor } = call.attributes<{ descriptor: FfnDescriptor }>();
  const held = (matrix: Input, scales: Input | undefined): HeldWeights =>
    heldWeights("moeFfn", matrix, scales, descriptor.format, call.context.f16);
  const [x, indices] = [call.input(first), call.input(first + 1)];
  const [up, down] = [call.input(first + 3), call.input(first + 4)];
  const sizes = ffnSizes(up.shape, down.shape, descriptor);
  const [tokens = 0, choices = 0] = indices.shape;
  return {
    x,
    rowPerChoice: false,
    indices,
    outputWeights: call.input(first + 2),
    up: held(up, call.optional(first + 8)),
    down: held(down, call.optional(first + 9)),
    upBias: call.optional(first + 5),
    downBias: call.optional(first + 6),
    inputWeights: call.optional(first + 7),
    descriptor,
    tokens,
    choices,
    rows: tokens * choices,
    ...sizes,
    innerSize: descriptor.gate ? sizes.hiddenSize / 2 : sizes.hiddenSize,
  };
}

/** The up projections as the right factors of products. */
export function upBank({ up, experts, inputSize, hiddenSize, descriptor }: FfnProblem): Bank {
  return {
    ...up,
    groups: experts,
    inner: inputSize,
    columns: hiddenSize,
    transposed: descriptor.transposed ?? false,
  };
}

/** The down projections. */
export function downBank({ down, experts, innerSize, outputSize, descriptor }: FfnProblem): Bank {
  return {
    ...down,
    groups: experts,
    inner: innerSize,
    columns: outputSize,
    transposed: descriptor.transposed ?? false,
  };
}

/** The same matrices for the way back: what was a column is summed over. */
export function turned(bank: Bank): Bank {
  return { ...bank, inner: bank.columns, columns: bank.inner, transposed: !bank.transposed };
}
