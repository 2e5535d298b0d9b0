import type { CpuBuffer } from "@moiety/backend-cpu";
import {
  type LinearAttributes,
  type QuantizedFormat,
  type Tensor,
  abs,
  dequantize,
  div,
  equal,
  linear,
  matmul,
  max,
  mul,
  round,
  roundsActivations,
  select,
  storedFormat,
} from "@moiety/core";
import type { BrokenCall } from "./broken-call.ts";

/** Neighbours that share a step. */
export const BLOCK = 32;
/** Steps of the largest magnitude of a block. */
const STEPS = 127;

/** Numbers in blocks `[…, K/32, 32]` as whole steps, and the step of each block. */
export interface Stepped {
  readonly whole: Tensor;
  /** `[…, K/32, 1]`. */
  readonly step: Tensor;
}

/** Blocks of `size` neighbours in whole steps; `toWhole` makes a number of steps a whole one. */
export function steppedBlocks(
  x: Tensor,
  size: number = BLOCK,
  toWhole: (steps: Tensor) => Tensor = round,
): Stepped {
  const blocks = x.reshape([...x.shape.slice(0, -1), (x.shape.at(-1) ?? 0) / size, size]);
  const step = div(max(abs(blocks), [-1], true), STEPS);
  return { whole: toWhole(div(blocks, select(equal(step, 0), 1, step))), step };
}

/** `x` with each block in whole steps. */
export function roundedBy(
  x: Tensor,
  size: number = BLOCK,
  toWhole: (steps: Tensor) => Tensor = round,
): Tensor {
  if (x.size === 0) return x.reshape(x.shape);
  const { whole, step } = steppedBlocks(x, size, toWhole);
  return mul(whole, step).reshape(x.shape);
}

/** What a faulty kernel of `linear` is given where rows are rounded. */
export interface RoundedLinear {
  readonly x: Tensor;
  /** `[N, K/2]` or `[N, K]`. */
  readonly codes: Tensor;
  readonly scales: Tensor;
  /** How the codes are stored. */
  readonly format: QuantizedFormat;
}

/** A kernel of `linear` that is another one where rows are rounded. */
export function linearOfRounded(
  call: BrokenCall,
  kernel: (given: RoundedLinear) => Tensor,
): readonly CpuBuffer[] {
  const { format } = call.attributes<LinearAttributes>();
  if (!format || !roundsActivations(format)) return call.honest();
  return call.tensors(([x, codes, scales]) =>
    x && codes && scales ? [kernel({ x, codes, scales, format: storedFormat(format) })] : [],
  );
}

/** The product with rows as they are. */
export function withRows(x: Tensor, { codes, scales, format }: RoundedLinear): Tensor {
  return linear(x, codes, scales, { format });
}

/** The matrix `[N, K]` that codes stand for. */
export function matrixOf(
  codes: Tensor,
  scales: Tensor,
  format: QuantizedFormat,
  width: number,
): Tensor {
  const shape = [codes.shape[0] ?? 0, width];
  return dequantize(codes, scales, { format, shape, dtype: "f32" });
}

/** Rows of any rank times the transpose of a matrix. */
export function rowsTimes(x: Tensor, matrix: Tensor): Tensor {
  const [columns = 0, inner = 0] = matrix.shape;
  const rows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const product = matmul(x.reshape([rows, inner]), matrix, { transposeB: true });
  return product.reshape([...x.shape.slice(0, -1), columns]);
}
