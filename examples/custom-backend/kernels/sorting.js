/** Sorting rows: by value, NaN below every number, masked elements last, ties to the lower index. */

/** @typedef {import("../kernels.js").Kernel} Kernel */

/** @type {Kernel} */
export const topK = ({ inputs: [scores, mask], outputs: [values, indices], attributes: { k } }) => {
  const length = scores.shape.at(-1);
  const rows = k === 0 ? 0 : indices.data.length / k;
  for (let row = 0; row < rows; row++) {
    const order = sortedRow(scores.data, mask?.data, row * length, length, true);
    for (let choice = 0; choice < k; choice++) {
      indices.data[row * k + choice] = order[choice];
      values.data[row * k + choice] = scores.data[row * length + order[choice]];
    }
  }
};

/** @type {Kernel} */
export const argsort = ({ inputs: [x, mask], outputs: [y], attributes: { descending } }) => {
  const length = x.shape.at(-1);
  for (let start = 0; start < x.data.length; start += length) {
    y.data.set(sortedRow(x.data, mask?.data, start, length, descending), start);
  }
};

/**
 * The order in which a row's elements are sorted.
 *
 * @param {any} values
 * @param {Uint32Array | undefined} mask
 * @param {number} start
 * @param {number} length
 * @param {boolean | undefined} descending
 */
function sortedRow(values, mask, start, length, descending) {
  const row = values.subarray(start, start + length);
  const open = mask?.subarray(start, start + length);
  const sign = descending ? -1 : 1;
  return Int32Array.from({ length }, (_, index) => index).sort((a, b) => {
    if (open && open[a] !== open[b]) return open[b] - open[a];
    if (open?.[a] === 0) return a - b;
    return sign * compareValues(row[a], row[b]) || a - b;
  });
}

/**
 * @param {number} a
 * @param {number} b
 */
function compareValues(a, b) {
  if (a < b) return -1;
  if (a > b) return 1;
  return Number(Number.isNaN(b)) - Number(Number.isNaN(a));
}
