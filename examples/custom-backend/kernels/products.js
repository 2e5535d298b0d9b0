/** Products of matrices. All sums are float32, one term after the other. */
import { sizeOf } from "@moiety/core";
import { broadcastStrides, positionsOf } from "../positions.js";

/** @typedef {import("../kernels.js").Kernel} Kernel */

/** @type {Kernel} */
export const matmul = ({ inputs: [a, b], outputs: [y], attributes }) => {
  const [rows, columns] = y.shape.slice(-2);
  const count = a.shape.at(attributes.transposeA ? -2 : -1);
  const [aRow, aStep] = attributes.transposeA ? [1, rows] : [count, 1];
  const [bColumn, bStep] = attributes.transposeB ? [count, 1] : [1, columns];
  const batch = y.shape.slice(0, -2);
  const aStarts = matrixStarts(a.shape, batch);
  const bStarts = matrixStarts(b.shape, batch);
  let at = 0;
  for (let matrix = 0; matrix < aStarts.length; matrix++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const left = aStarts[matrix] + row * aRow;
        const right = bStarts[matrix] + column * bColumn;
        y.data[at++] = dot(a.data, left, aStep, b.data, right, bStep, count);
      }
    }
  }
};

/** @type {Kernel} */
export const groupedMatmul = ({ inputs, outputs: [y], attributes: { transposed } }) => {
  const [x, weights, offsets, rowIndex] = inputs;
  const [sources, count] = x.shape;
  const [groups] = weights.shape;
  const width = y.shape[1];
  const [column, step] = transposed ? [1, width] : [count, 1];
  // Rows outside the window, and those of no source, are zero.
  y.data.fill(0);
  for (let group = 0; group < groups; group++) {
    const matrix = group * width * count;
    for (let row = offsets.data[group]; row < offsets.data[group + 1]; row++) {
      const source = rowIndex ? rowIndex.data[row] : row;
      if (source < 0 || source >= sources) continue;
      for (let i = 0; i < width; i++) {
        const start = matrix + i * column;
        y.data[row * width + i] = dot(x.data, source * count, 1, weights.data, start, step, count);
      }
    }
  }
};

/** @type {Kernel} */
export const groupedMatmulGradWeights = ({ inputs, outputs: [y], attributes: { transposed } }) => {
  const [x, dy, offsets, rowIndex] = inputs;
  const [sources, inner] = x.shape;
  const width = dy.shape[1];
  const [outputStep, inputStep] = transposed ? [1, width] : [inner, 1];
  y.data.fill(0);
  for (let group = 0; group < y.shape[0]; group++) {
    const matrix = group * width * inner;
    for (let row = offsets.data[group]; row < offsets.data[group + 1]; row++) {
      const source = rowIndex ? rowIndex.data[row] : row;
      if (source < 0 || source >= sources) continue;
      for (let i = 0; i < width; i++) {
        const factor = dy.data[row * width + i];
        for (let k = 0; k < inner; k++) {
          y.data[matrix + i * outputStep + k * inputStep] += factor * x.data[source * inner + k];
        }
      }
    }
  }
};

/** Format q8_row: a byte for each value, a scale for each row. @type {Kernel} */
export const dequantize = ({ inputs: [codes, scales], outputs: [y] }) => {
  const length = codes.shape.at(-1);
  for (let i = 0; i < y.data.length; i++) {
    y.data[i] = (codes.data[i] - 128) * scales.data[Math.floor(i / length)];
  }
};

/**
 * The sum of `count` products. A product of two float32 is exact in float64, so each step rounds
 * once, like a fused multiply-add.
 *
 * @param {Float32Array} a
 * @param {number} aStart
 * @param {number} aStep
 * @param {Float32Array} b
 * @param {number} bStart
 * @param {number} bStep
 * @param {number} count
 */
function dot(a, aStart, aStep, b, bStart, bStep, count) {
  let total = 0;
  for (let k = 0; k < count; k++) {
    total = Math.fround(total + a[aStart + k * aStep] * b[bStart + k * bStep]);
  }
  return total;
}

/**
 * Where the matrices of a tensor begin whose leading dimensions are repeated to `batch`.
 *
 * @param {readonly number[]} shape
 * @param {readonly number[]} batch
 */
function matrixStarts(shape, batch) {
  const size = sizeOf(shape.slice(-2));
  const strides = broadcastStrides(shape.slice(0, -2), batch).map((stride) => stride * size);
  return positionsOf(batch, strides);
}
