import {
  type FfnDescriptor,
  type FfnWeights,
  type Tensor,
  bankRows,
  constantParameter,
  foldIn,
  fusedFfn,
  mul,
} from "@moiety/core";
import { type FfnBank, type ShapedBank, weightsOf } from "./bank.ts";
import type { FfnParams } from "./params.ts";
import { type Wrapped, requireResident } from "./wrap.ts";

/** Parameters of a bank with a factor for each hidden unit. */
export interface MultBiasParams<Inner> extends Wrapped<Inner> {
  /** `[E, I]`. */
  readonly multBias: Tensor;
}

/**
 * Feed-forward experts whose hidden units have a learned factor that starts from 1, between the
 * activation and the projection down: `down(m · act(gate x) · up x)` (lucidrains' st-moe-pytorch,
 * `mult_bias` of its GEGLU). The factors go into the columns of `down`, so the bank still runs as
 * one fused op.
 */
export function withMultBias<Inner extends FfnParams>(
  bank: FfnBank<Inner>,
): ShapedBank<MultBiasParams<Inner>> {
  requireResident("withMultBias", bank);
  const { descriptor, experts, inputSize, outputSize } = bank;
  const [, first = 0, second = 0] = (bank.shapes as { readonly down: readonly number[] }).down;
  const shape = [experts, descriptor.transposed ? first : second];
  const weights = ({ bank: inner, multBias }: MultBiasParams<Inner>): FfnWeights => {
    const plain = weightsOf(inner);
    return { ...plain, down: mul(plain.down, alongHidden(multBias, descriptor)) };
  };
  return {
    experts,
    inputSize,
    outputSize,
    shapes: { bank: bank.shapes, multBias: shape } as ShapedBank<MultBiasParams<Inner>>["shapes"],
    init(key, options) {
      const inner = bank.init(foldIn(key, 0), options).params;
      return { params: { bank: inner, multBias: constantParameter(1, shape, options) }, state: {} };
    },
    ffn: (params) => fusedFfn(descriptor, weights(params)),
    forward: (params, rows) => bankRows(rows, weights(params), descriptor),
  };
}

/** Factors `[E, I]` of hidden units in a shape that broadcasts to the projection down. */
function alongHidden(factors: Tensor, { transposed }: FfnDescriptor): Tensor {
  const [experts = 0, units = 0] = factors.shape;
  return factors.reshape(transposed ? [experts, units, 1] : [experts, 1, units]);
}
