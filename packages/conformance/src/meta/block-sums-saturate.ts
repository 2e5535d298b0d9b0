import { type Tensor, maximum, minimum, mul, matmul, sum, transpose } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import {
  BLOCK,
  type RoundedLinear,
  linearOfRounded,
  matrixOf,
  steppedBlocks,
  withRows,
} from "./parts/rounded-linear.ts";

/** The largest number of 16 bits. */
const LARGEST = 2 ** 15 - 1;

/** A backend in which linear adds the products of a block up in 16 bits, which saturate. */
export const blockSumsSaturate: BrokenBackend = /*#__PURE__*/ broken({
  name: "block-sums-saturate",
  fault: "linear adds whole codes times whole steps up in 16 bits that saturate",
  caughtBy: "L3/quantised/q8_block32_a8-linear-largest-codes",
  kernels: {
    linear: (call) => linearOfRounded(call, saturated),
  },
});

/** Block by block: `Σ code · step`, kept within 16 bits, times the scale and the step. */
function saturated(given: RoundedLinear): Tensor {
  const { x, codes, scales, format } = given;
  const width = x.shape.at(-1) ?? 0;
  if (x.size === 0 || codes.size === 0) return withRows(x, given);
  const [rows, columns, blocks] = [x.size / width, codes.shape[0] ?? 0, width / BLOCK];
  const { whole, step } = steppedBlocks(x.reshape([rows, width]));
  const ones = x.backend.tensor(new Float32Array(scales.size).fill(1), { shape: scales.shape });
  const codesAsNumbers = matrixOf(codes, ones, format, width).reshape([columns, blocks, BLOCK]);
  const blockFirst = { permutation: [1, 0, 2] };
  const products = matmul(transpose(whole, blockFirst), transpose(codesAsNumbers, blockFirst), {
    transposeB: true,
  });
  const kept = maximum(minimum(products, LARGEST), -LARGEST);
  const steps = transpose(step, blockFirst);
  const scalesOfBlocks = transpose(scales, { permutation: [1, 0] }).reshape([blocks, 1, columns]);
  return sum(mul(mul(kept, steps), scalesOfBlocks), [0]).reshape([
    ...x.shape.slice(0, -1),
    columns,
  ]);
}
