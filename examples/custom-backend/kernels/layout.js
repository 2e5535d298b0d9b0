/** Ops that move elements and compute nothing. Any dtype. */
import { stridesOf } from "@moiety/core";
import { aroundAxis, copyUnlessInPlace, positionsOf, put, startOf, take } from "../positions.js";

/** @typedef {import("../kernels.js").Kernel} Kernel */

/** @type {Kernel} */
export const transpose = ({ inputs: [x], outputs: [y], attributes: { permutation } }) => {
  const own = stridesOf(x.shape);
  const strides = permutation.map((/** @type {number} */ axis) => own[axis]);
  take(y.data, x.data, positionsOf(y.shape, strides));
};

/** @type {Kernel} */
export const slice = ({ inputs: [x], outputs: [y], attributes: { starts } }) => {
  const strides = stridesOf(x.shape);
  take(y.data, x.data, positionsOf(y.shape, strides, startOf(starts, strides)));
};

/** @type {Kernel} */
export const writeSlice = ({ inputs: [x, update], outputs: [y], attributes: { starts } }) => {
  copyUnlessInPlace(x.data, y.data);
  const strides = stridesOf(y.shape);
  put(y.data, update.data, positionsOf(update.shape, strides, startOf(starts, strides)));
};

/** @type {Kernel} */
export const pad = ({ inputs: [x], outputs: [y], attributes: { before, value } }) => {
  y.data.fill(value);
  const strides = stridesOf(y.shape);
  put(y.data, x.data, positionsOf(x.shape, strides, startOf(before, strides)));
};

/** @type {Kernel} */
export const concat = ({ inputs, outputs: [y], attributes: { axis } }) => {
  const { outer, length, inner } = aroundAxis(y.shape, axis);
  let start = 0;
  for (const x of inputs) {
    const run = x.shape[axis] * inner;
    for (let row = 0; row < outer; row++) {
      y.data.set(x.data.subarray(row * run, (row + 1) * run), row * length * inner + start);
    }
    start += run;
  }
};
