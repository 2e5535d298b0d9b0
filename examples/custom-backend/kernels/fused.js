/**
 * Optional ops: each has a decomposition into the others, so a backend is whole without this file.
 * Here are one op that stands alone, and a pair of an op and its backward.
 */
import { hostArray } from "@moiety/core";
import { broadcastStrides, positionsOf } from "../positions.js";

/** @typedef {import("../kernels.js").Kernel} Kernel */

/** @type {Kernel} */
export const softmax = ({ inputs: [x, mask], outputs: [y] }) => {
  const length = x.shape.at(-1);
  const places = mask && positionsOf(x.shape, broadcastStrides(mask.shape, x.shape));
  const counts = (/** @type {number} */ at) => !mask || mask.data[places[at]] !== 0;
  for (let start = 0; start < x.data.length; start += length) {
    let top = -Infinity;
    for (let at = start; at < start + length; at++) {
      if (counts(at) && x.data[at] > top) top = x.data[at];
    }
    let total = 0;
    for (let at = start; at < start + length; at++) {
      y.data[at] = counts(at) ? Math.exp(x.data[at] - top) : 0;
      total = Math.fround(total + y.data[at]);
    }
    // A row of which nothing counts is all zeros.
    for (let at = start; at < start + length; at++) y.data[at] /= total === 0 ? 1 : total;
  }
};

/** The second output is the residual: there only where a gradient is wanted. @type {Kernel} */
export const rmsNorm = ({ inputs: [x, weight], outputs: [y, residual], attributes }) => {
  const width = x.shape.at(-1);
  const rows = width === 0 ? 0 : x.data.length / width;
  const rstd = residual?.data ?? hostArray("f32", rows);
  for (let row = 0; row < rows; row++) {
    const start = row * width;
    let squares = 0;
    for (let i = 0; i < width; i++) squares = Math.fround(squares + x.data[start + i] ** 2);
    rstd[row] = 1 / Math.sqrt(squares / width + attributes.epsilon);
    for (let i = 0; i < width; i++) {
      y.data[start + i] = x.data[start + i] * rstd[row] * weight.data[i];
    }
  }
};

/** With n = x · rstd: dx = rstd · (g − n · mean(g · n)) where g = gradient · weight. @type {Kernel} */
export const rmsNormBackward = ({ inputs, outputs: [dx, dWeight] }) => {
  const [x, weight, rstd, gradient] = inputs.map(({ data }) => data);
  const width = weight.length;
  dWeight.data.fill(0);
  for (let start = 0, row = 0; start < x.length; start += width, row++) {
    let total = 0;
    for (let i = 0; i < width; i++) {
      const normalized = x[start + i] * rstd[row];
      total = Math.fround(total + gradient[start + i] * weight[i] * normalized);
      dWeight.data[i] += gradient[start + i] * normalized;
    }
    for (let i = 0; i < width; i++) {
      const normalized = x[start + i] * rstd[row];
      dx.data[start + i] =
        rstd[row] * (gradient[start + i] * weight[i] - (normalized * total) / width);
    }
  }
};
