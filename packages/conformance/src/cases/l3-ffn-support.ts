import {
  type AnyOp,
  type FfnDescriptor,
  type Tensor,
  binary,
  compare,
  gatherRows,
  groupRows,
  groupedMatmul,
  moeFfn,
  reduce,
  slice,
  unary,
  where,
} from "@moiety/core";
import type { CaseContext } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { KitFault } from "../failure.ts";

/** A bank of experts as a table of cases names it. */
export interface Bank {
  readonly descriptor: FfnDescriptor;
  readonly biases?: "up" | "down" | "both" | undefined;
  readonly inputWeights?: boolean | undefined;
}

const silu = { activation: "silu" } as const;
const gated = { ...silu, gate: { packing: "concatenated", first: "gate" } } as const;
const interleaved = { packing: "interleaved", first: "gate" } as const;

/** The bank that cases use where its kind does not matter. */
export const USUAL: Bank = { descriptor: gated };

/** gpt-oss: interleaved, limited before its activation, α, an offset, biases, transposed. */
export const GPT_OSS: Bank = {
  descriptor: {
    activation: "silu",
    alpha: 1.702,
    gate: interleaved,
    clamp: { limit: 0.75 },
    upOffset: 1,
    transposed: true,
  },
  biases: "both",
};

/** Every key of a descriptor, each in a bank of its own, and what goes beside it. */
export const BANKS: Readonly<Record<string, Bank>> = {
  relu: { descriptor: { activation: "relu" } },
  "relu-squared": { descriptor: { activation: "reluSquared" } },
  gelu: { descriptor: { activation: "gelu" } },
  "gelu-tanh": { descriptor: { activation: "geluTanh" } },
  silu: { descriptor: silu },
  "silu-alpha": { descriptor: { ...silu, alpha: 1.702 } },
  identity: { descriptor: { activation: "identity" } },
  "gated-concatenated-gate-first": USUAL,
  "gated-concatenated-up-first": {
    descriptor: { ...silu, gate: { packing: "concatenated", first: "up" } },
  },
  "gated-interleaved-gate-first": { descriptor: { ...silu, gate: interleaved } },
  "gated-interleaved-up-first": {
    descriptor: { ...silu, gate: { packing: "interleaved", first: "up" } },
  },
  "gated-relu": { descriptor: { ...gated, activation: "relu" } },
  "gated-gelu": { descriptor: { ...gated, activation: "gelu" } },
  "gated-gelu-tanh": { descriptor: { ...gated, activation: "geluTanh" } },
  "gated-identity": { descriptor: { ...gated, activation: "identity" } },
  "clamp-before": { descriptor: { ...gated, clamp: { limit: 0.5 } } },
  "clamp-after": { descriptor: { ...gated, clamp: { limit: 0.25, when: "after" } } },
  "up-offset": { descriptor: { ...gated, upOffset: 1 } },
  transposed: { descriptor: { ...gated, transposed: true } },
  "up-bias": { descriptor: gated, biases: "up" },
  "down-bias": { descriptor: gated, biases: "down" },
  "plain-biases": { descriptor: silu, biases: "both" },
  "input-weights": { descriptor: gated, inputWeights: true },
  "input-weights-biases": { descriptor: silu, biases: "both", inputWeights: true },
  "gpt-oss": GPT_OSS,
};

/** Sizes of an expert path. */
export interface FfnShape {
  readonly tokens: number;
  readonly experts: number;
  readonly topK: number;
  /** H. */
  readonly input: number;
  /** I. */
  readonly inner: number;
  /** O; H unless given. */
  readonly output?: number | undefined;
}

/** Inputs of an expert path. */
export type FfnHosts = {
  readonly x: HostTensor;
  readonly indices: HostTensor;
  readonly outputWeights: HostTensor;
  readonly up: HostTensor;
  readonly down: HostTensor;
  readonly upBias: HostTensor | undefined;
  readonly downBias: HostTensor | undefined;
  readonly inputWeights: HostTensor | undefined;
  readonly upScales?: HostTensor | undefined;
  readonly downScales?: HostTensor | undefined;
};

/** Their weights alone. */
export type BankHosts = Pick<FfnHosts, "up" | "down" | "upBias" | "downBias">;

/** The same on a backend. */
export type FfnTensors = {
  readonly [Name in keyof FfnHosts]: FfnHosts[Name] extends HostTensor
    ? Tensor
    : Tensor | undefined;
};

type Values = (shape: readonly number[]) => HostTensor;

/** Draws a bank's weights, so large that activations are bent and limits reached. */
export function bankHosts(
  random: CaseRandom,
  { descriptor, biases }: Bank,
  { experts, input, inner, output = input }: Omit<FfnShape, "tokens" | "topK">,
  values?: Values,
): BankHosts {
  const hidden = descriptor.gate ? 2 * inner : inner;
  const matrix = (rows: number, columns: number): HostTensor => {
    const shape = descriptor.transposed ? [experts, columns, rows] : [experts, rows, columns];
    return values ? values(shape) : random.normal(shape, 1.2 / Math.sqrt(Math.max(1, columns)));
  };
  const bias = (name: "up" | "down", width: number): HostTensor | undefined =>
    biases === name || biases === "both" ? random.normal([experts, width], 0.5) : undefined;
  return {
    up: matrix(hidden, input),
    down: matrix(output, inner),
    upBias: bias("up", hidden),
    downBias: bias("down", output),
  };
}

/** `[T, k]` i32: k different experts for each token, in ascending and descending order in turn. */
export function choices(
  random: CaseRandom,
  { tokens, experts, topK }: Pick<FfnShape, "tokens" | "experts" | "topK">,
): HostTensor {
  if (topK > experts) throw new KitFault(`${topK} of ${experts} experts cannot be chosen`);
  const starts = random.integers([tokens], 0, Math.max(0, experts - 1)).data;
  return generated([tokens, topK], "i32", (index) => {
    const [token, choice] = [Math.floor(index / topK), index % topK];
    const step = token % 2 === 0 ? choice : experts - choice;
    return ((starts[token] ?? 0) + step) % experts;
  });
}

/** Draws the inputs of an expert path. */
export function ffnHosts(
  { random }: Pick<CaseContext, "random">,
  bank: Bank,
  shape: FfnShape,
  values?: Values,
): FfnHosts {
  const { tokens, topK, input } = shape;
  return {
    x: values ? values([tokens, input]) : random.normal([tokens, input]),
    indices: choices(random, shape),
    outputWeights: random.uniform([tokens, topK], 0.1, 1),
    ...bankHosts(random, bank, shape, values),
    inputWeights: bank.inputWeights ? random.uniform([tokens, topK], 0.3, 1.5) : undefined,
  };
}

/** The fused op on uploaded inputs. */
export function ffn(given: FfnTensors, descriptor: FfnDescriptor): Tensor {
  const { x, indices, outputWeights, up, down, upBias, downBias, inputWeights } = given;
  const rest = [upBias, downBias, inputWeights, given.upScales, given.downScales] as const;
  return moeFfn(x, indices, outputWeights, up, down, ...rest, { descriptor });
}

/** The ops of activations of every kind. */
export const ACTIVATION_OPS: readonly AnyOp[] = [binary, unary, compare, where, slice];

/** The ops of an expert path that is taken apart. */
export const FFN_OPS: readonly AnyOp[] = [
  ...ACTIVATION_OPS,
  groupRows,
  gatherRows,
  groupedMatmul,
  reduce,
];
