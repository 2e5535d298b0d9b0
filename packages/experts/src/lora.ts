import {
  ConfigError,
  type FfnDescriptor,
  type InitOptions,
  type RandomKey,
  type Rows,
  type Shape,
  type Tensor,
  activate,
  add,
  atLeast,
  constantParameter,
  foldIn,
  gather,
  gatherRows,
  groupedMatmul,
  matmul,
  mapTree,
  mul,
  normalParameter,
  stopGradient,
} from "@moiety/core";
import type { FfnBank, ShapedBank } from "./bank.ts";
import { asDType } from "./dtype.ts";
import { refuse, requireDeviation, requireSize } from "./options.ts";
import type { FfnParams } from "./params.ts";
import { requireResident } from "./wrap.ts";

/** The change of one matrix of each expert: ΔW = α/r · B·A. */
export interface LoraPair {
  /** `[E, r, in]`. */
  readonly a: Tensor;
  /** `[E, out, r]`. */
  readonly b: Tensor;
}

/** A matrix of a bank that may be adapted. */
export type LoraTarget = "gateUp" | "up" | "down";

/** Parameters of an adapted bank: frozen ones, and the pairs that are trained. */
export interface LoraParams<Base extends FfnParams> {
  /** Get no gradient. */
  readonly base: Base;
  readonly adapters: { readonly [Target in LoraTarget]?: LoraPair | undefined };
}

/** Options of {@link lora}. */
export interface LoraOptions {
  /** Rank r of each change. */
  readonly rank: number;
  /** α: changes are multiplied by α/r. The rank unless given. */
  readonly alpha?: number | undefined;
  /** Which matrices are adapted. All of the bank unless given. */
  readonly targets?: readonly LoraTarget[] | undefined;
  /** Standard deviation of A at the start; 1/√in unless given. B starts at 0. */
  readonly initializerRange?: number | undefined;
}

/** A frozen bank whose experts have trained changes of low rank. */
export interface LoraBank<Base extends FfnParams> extends ShapedBank<LoraParams<Base>> {
  /** Puts fresh pairs beside weights that were trained before; the bank's outputs do not change. */
  adapt(base: Base, key: RandomKey, options: InitOptions): LoraParams<Base>;
  /** Plain weights of the bank inside with the changes in them, for inference and for files. */
  merge(params: LoraParams<Base>): Base;
}

/**
 * Low-rank adapters on each expert of a frozen bank (Hu et al., arXiv 2106.09685): every target
 * computes `(W + α/r · B·A)x`, never making the sum, so that the gradients have the size of A and B
 * alone. Base weights get none (`null`); B = 0 at the start, so the outputs are the base's.
 *
 * @example
 * const adapted = lora(bank, { rank: 8, alpha: 16, targets: ["gateUp", "down"] });
 * const params = adapted.adapt(pretrained, key, { backend });
 * @throws ConfigError naming the option
 */
export function lora<Base extends FfnParams>(
  bank: FfnBank<Base>,
  options: LoraOptions,
): LoraBank<Base> {
  const { rank, alpha = rank, initializerRange } = options;
  const { descriptor } = bank;
  requireResident("lora", bank);
  requireSize("rank", rank);
  if (!Number.isFinite(alpha)) throw refuse("alpha", alpha, "a finite number");
  requireDeviation(initializerRange ?? 0);
  const targets = targetsOf(bank, options.targets);
  const scale = alpha / rank;
  const pairs = targets.map((target) => [target, pairShapes(bank, target, rank)] as const);
  const draw = (key: RandomKey, init: InitOptions): LoraParams<Base>["adapters"] =>
    Object.fromEntries(
      pairs.map(([target, { a, b }], index) => {
        const deviation = initializerRange ?? (a[2] ?? 1) ** -0.5;
        const pair = {
          a: normalParameter(foldIn(key, index), a, deviation, init),
          b: constantParameter(0, b, init),
        };
        return [target, pair];
      }),
    );
  return {
    experts: bank.experts,
    inputSize: bank.inputSize,
    outputSize: bank.outputSize,
    shapes: {
      base: bank.shapes,
      adapters: Object.fromEntries(pairs),
    } as unknown as LoraBank<Base>["shapes"],
    init(key, init) {
      const base = bank.init(foldIn(key, 0), init).params;
      return { params: { base, adapters: draw(foldIn(key, 1), init) }, state: {} };
    },
    adapt: (base, key, init) => ({ base, adapters: draw(key, init) }),
    forward: (params, rows) => adaptedRows(params, rows, descriptor, scale),
    merge: ({ base, adapters }) =>
      base.down.backend.scope(
        () =>
          mapTree(base, (leaf, name) => {
            const pair = adapters[name as LoraTarget];
            return pair ? merged(leaf as Tensor, pair, scale, descriptor) : leaf;
          }) as Base,
      ),
  };
}

/** The bank's projections with their changes, on rows grouped by expert: `[A, O]`. */
function adaptedRows<Base extends FfnParams>(
  { base, adapters }: LoraParams<Base>,
  rows: Rows,
  descriptor: FfnDescriptor,
  scale: number,
): Tensor {
  const { offsets, group } = rows;
  const frozen = (leaf: Tensor): Tensor => stopGradient(leaf);
  // A product reads rows through their index, but not weighted ones.
  const [source, index] = rows.weights ? [gather(rows), undefined] : [rows.source, rows.index];
  const layout = { transposed: descriptor.transposed ?? false };
  const project = (
    x: Tensor,
    at: Tensor | undefined,
    weight: Tensor,
    bias: Tensor | undefined,
    pair: LoraPair | undefined,
  ): Tensor => {
    const wide = asDType(frozen(weight), x.dtype);
    const plain = groupedMatmul(x, wide, offsets, at, layout);
    const change =
      pair &&
      groupedMatmul(groupedMatmul(x, pair.a, offsets, at, {}), pair.b, offsets, undefined, {});
    const changed = change ? add(plain, mul(change, scale)) : plain;
    return bias ? add(changed, gatherRows(frozen(bias), group)) : changed;
  };
  const [up, upBias, pair] =
    "gateUp" in base
      ? [base.gateUp, base.gateUpBias, adapters.gateUp]
      : [base.up, base.upBias, adapters.up];
  const hidden = activate(project(source, index, up, upBias, pair), descriptor);
  return project(hidden, undefined, base.down, base.downBias, adapters.down);
}

/** W + α/r · B·A in the layout and dtype of W. */
function merged(
  weight: Tensor,
  { a, b }: LoraPair,
  scale: number,
  { transposed }: FfnDescriptor,
): Tensor {
  const change = transposed
    ? matmul(a, b, { transposeA: true, transposeB: true })
    : matmul(b, a, {});
  const sum = add(atLeast(weight, "f32"), mul(change, scale));
  return asDType(sum, weight.dtype);
}

function targetsOf<Base extends FfnParams>(
  bank: FfnBank<Base>,
  given: readonly LoraTarget[] | undefined,
): readonly LoraTarget[] {
  const known: readonly LoraTarget[] =
    "gateUp" in bank.shapes ? ["gateUp", "down"] : ["up", "down"];
  const targets = given ?? known;
  if (targets.length === 0) throw refuse("targets", "empty", `some of ${known.join(", ")}`);
  for (const [index, target] of targets.entries()) {
    if (!known.includes(target)) throw refuse("targets", target, `some of ${known.join(", ")}`);
    if (targets.indexOf(target) !== index) throw refuse("targets", target, "listed once");
  }
  return targets;
}

/** Shapes of A and B, read off the matrix by the descriptor. */
function pairShapes<Base extends FfnParams>(
  bank: FfnBank<Base>,
  target: LoraTarget,
  rank: number,
): { readonly a: Shape; readonly b: Shape } {
  const shape = (bank.shapes as { readonly [T in LoraTarget]?: Shape })[target];
  if (shape === undefined) throw new ConfigError(`the bank has no ${target}`, "targets", target);
  const [experts = 0, first = 0, second = 0] = shape;
  const [out, input] = bank.descriptor.transposed ? [second, first] : [first, second];
  return { a: [experts, rank, input], b: [experts, out, rank] };
}
