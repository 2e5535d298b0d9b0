/** Sums and extremes. Float sums are kept in float32: the typed array rounds after each step. */
import { stridesOf } from "@moiety/core";
import { aroundAxis, positionsOf } from "../positions.js";

/** @typedef {import("../kernels.js").Kernel} Kernel */

/**
 * What `max` and `min` begin with. Floats begin with NaN, which loses to every number.
 *
 * @type {Record<string, Record<string, number>>}
 */
const FIRST = {
  max: { f32: Number.NaN, i32: -(2 ** 31), u32: 0 },
  min: { f32: Number.NaN, i32: 2 ** 31 - 1, u32: 2 ** 32 - 1 },
};

/** @type {Kernel} */
export const reduce = ({ inputs: [x], outputs: [y], attributes: { kind, axes } }) => {
  const kept = x.shape.map((/** @type {number} */ size, /** @type {number} */ axis) =>
    axes.includes(axis) ? 1 : size,
  );
  const strides = stridesOf(kept).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  const places = positionsOf(x.shape, strides);
  if (kind === "sum") {
    y.data.fill(0);
    for (let i = 0; i < places.length; i++) y.data[places[i]] += x.data[i];
    return;
  }
  y.data.fill(FIRST[kind][x.dtype]);
  for (let i = 0; i < places.length; i++) {
    const [value, best] = [x.data[i], y.data[places[i]]];
    const better = kind === "max" ? value > best : value < best;
    if (better || Number.isNaN(best)) y.data[places[i]] = value;
  }
};

/** @type {Kernel} */
export const cumsum = ({ inputs: [x], outputs: [y], attributes: { axis, exclusive, reverse } }) => {
  const { outer, length, inner } = aroundAxis(x.shape, axis);
  const step = reverse ? -inner : inner;
  for (let row = 0; row < outer; row++) {
    for (let column = 0; column < inner; column++) {
      let at = (row * length + (reverse ? length - 1 : 0)) * inner + column;
      for (let index = 0; index < length; index++, at += step) {
        const before = index === 0 ? 0 : y.data[at - step];
        const next = exclusive ? (index === 0 ? 0 : x.data[at - step]) : x.data[at];
        y.data[at] = before + next;
      }
    }
  }
};

/** @type {Kernel} */
export const segmentSum = ({ inputs: [rows, ids], outputs: [y], attributes: { segments } }) => {
  y.data.fill(0);
  const { inner } = aroundAxis(rows.shape, 0);
  for (let row = 0; row < ids.data.length; row++) {
    const id = ids.data[row];
    if (id < 0 || id >= segments) continue;
    for (let i = 0; i < inner; i++) y.data[id * inner + i] += rows.data[row * inner + i];
  }
};
