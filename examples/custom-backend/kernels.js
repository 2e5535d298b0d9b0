/** The table of kernels: what `capabilities.ops` lists is what stands here. */
import * as elementwise from "./kernels/elementwise.js";
import * as fused from "./kernels/fused.js";
import * as layout from "./kernels/layout.js";
import * as products from "./kernels/products.js";
import * as random from "./kernels/random.js";
import * as reductions from "./kernels/reductions.js";
import * as rows from "./kernels/rows.js";
import * as sorting from "./kernels/sorting.js";

/**
 * A tensor as kernels see it. `data` is a view into the heap: what is written there is the tensor.
 *
 * @typedef {object} Operand
 * @property {any} data typed array of the dtype, row-major
 * @property {readonly number[]} shape
 * @property {import("@moiety/core").DType} dtype
 */

/**
 * One call. Core has checked shapes, dtypes and attributes; an absent optional input is `undefined`.
 * `outputs` holds the op's outputs and then the residuals, where they are wanted.
 *
 * @typedef {object} KernelCall
 * @property {readonly any[]} inputs an {@link Operand} each
 * @property {readonly Operand[]} outputs to be filled: they may contain anything
 * @property {any} attributes
 */

/** @typedef {(call: KernelCall) => void} Kernel */

/** @type {Readonly<Record<string, Kernel>>} */
export const KERNELS = {
  ...elementwise,
  ...layout,
  ...reductions,
  ...rows,
  ...sorting,
  ...products,
  ...random,
  ...fused,
};

/**
 * Ops whose first output may take the place of a donated first input of the same shape: they read an
 * element only before they write its place.
 */
export const IN_PLACE = new Set(["unary", "binary", "writeSlice", "putAlong"]);
