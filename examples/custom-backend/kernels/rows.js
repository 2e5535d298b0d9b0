/** Rows and elements by id. An id outside its range means "nothing": zeros, or nothing written. */
import { aroundAxis, copyUnlessInPlace } from "../positions.js";

/** @typedef {import("../kernels.js").Kernel} Kernel */

/** @type {Kernel} */
export const gatherRows = ({ inputs: [table, ids], outputs: [y] }) => {
  const { length, inner } = aroundAxis(table.shape, 0);
  y.data.fill(0);
  for (let row = 0; row < ids.data.length; row++) {
    const id = ids.data[row];
    if (id < 0 || id >= length) continue;
    y.data.set(table.data.subarray(id * inner, (id + 1) * inner), row * inner);
  }
};

/** @type {Kernel} */
export const takeAlong = ({ inputs: [x, indices], outputs: [y], attributes: { axis } }) => {
  y.data.fill(0);
  alongAxis(x.shape, indices, axis, (place, at) => {
    y.data[at] = x.data[place];
  });
};

/** @type {Kernel} */
export const putAlong = ({ inputs: [x, indices, updates], outputs: [y], attributes: { axis } }) => {
  copyUnlessInPlace(x.data, y.data);
  alongAxis(x.shape, indices, axis, (place, at) => {
    y.data[place] = updates.data[at];
  });
};

/**
 * Calls `visit` with the place in a tensor of `shape` that each index means, and the index's own.
 *
 * @param {readonly number[]} shape
 * @param {import("../kernels.js").Operand} indices
 * @param {number} axis
 * @param {(place: number, at: number) => void} visit
 */
function alongAxis(shape, indices, axis, visit) {
  const { length } = aroundAxis(shape, axis);
  const { outer, length: count, inner } = aroundAxis(indices.shape, axis);
  let at = 0;
  for (let row = 0; row < outer; row++) {
    for (let step = 0; step < count; step++) {
      for (let column = 0; column < inner; column++, at++) {
        const index = indices.data[at];
        if (index >= 0 && index < length) visit((row * length + index) * inner + column, at);
      }
    }
  }
}

/** A stable counting sort of assignments by id. @type {Kernel} */
export const groupRows = ({ inputs: [ids], outputs, attributes: { groups } }) => {
  const [order, inverse, offsets, group] = outputs.map(({ data }) => data);
  const count = ids.data.length;
  const isIn = (/** @type {number} */ id) => id >= 0 && id < groups;
  offsets.fill(0);
  for (const id of ids.data) if (isIn(id)) offsets[id + 1]++;
  for (let id = 0; id < groups; id++) offsets[id + 1] += offsets[id];
  // What is in no group: no row, and rows that belong to nobody.
  order.fill(count);
  inverse.fill(count);
  group.fill(groups);
  const next = offsets.slice();
  for (let assignment = 0; assignment < count; assignment++) {
    const id = ids.data[assignment];
    if (!isIn(id)) continue;
    const row = next[id]++;
    order[row] = assignment;
    inverse[assignment] = row;
    group[row] = id;
  }
};
