import {
  type Tensor,
  add,
  constantParameter,
  foldIn,
  gather,
  gatherRows,
  groupedMatmul,
  normalParameter,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { requireDeviation, requireSize } from "./options.ts";

/** Weights of linear experts. */
export interface LinearExpertsParams {
  /** `[E, O, H]` (last two swapped when transposed). */
  readonly weight: Tensor;
  /** `[E, O]`. */
  readonly bias?: Tensor | undefined;
}

/** Options of {@link linearExperts}. */
export interface LinearExpertsOptions {
  /** Number of experts E. */
  readonly experts: number;
  /** Width H of the input. */
  readonly hiddenSize: number;
  /** Width O of the output; H unless given. */
  readonly outputSize?: number | undefined;
  /** Whether each expert has a bias. False unless given. */
  readonly bias?: boolean | undefined;
  /** `[E, H, O]` instead of `[E, O, H]`. False unless given. */
  readonly transposed?: boolean | undefined;
  /** Standard deviation of the initial weights. 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * A bank of one matrix each: Wx (+ b). The query and output projections of attention experts are
 * such banks (JetMoE's `JetMoeParallelExperts`).
 * @throws ConfigError naming the option
 */
export function linearExperts(options: LinearExpertsOptions): ShapedBank<LinearExpertsParams> {
  const { experts, hiddenSize, outputSize = hiddenSize, bias = false } = options;
  const { transposed = false, initializerRange = 0.02 } = options;
  for (const [key, size] of Object.entries({ experts, hiddenSize, outputSize })) {
    requireSize(key, size);
  }
  requireDeviation(initializerRange);
  const matrix = transposed ? [hiddenSize, outputSize] : [outputSize, hiddenSize];
  const shapes = { weight: [experts, ...matrix], ...(bias && { bias: [experts, outputSize] }) };
  return {
    experts,
    inputSize: hiddenSize,
    outputSize,
    shapes,
    init(key, init) {
      const weight = normalParameter(foldIn(key, 0), shapes.weight, initializerRange, init);
      const params = {
        weight,
        ...(bias && { bias: constantParameter(0, [experts, outputSize], init) }),
      };
      return { params, state: {} };
    },
    forward({ weight, bias: offset }, rows) {
      const { offsets, group } = rows;
      // A product reads rows through their index, but not weighted ones.
      const [source, index] = rows.weights ? [gather(rows), undefined] : [rows.source, rows.index];
      const product = groupedMatmul(source, weight, offsets, index, { transposed });
      return offset ? add(product, gatherRows(offset, group)) : product;
    },
  };
}
