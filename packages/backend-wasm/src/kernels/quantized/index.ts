import type { KernelSet } from "../../kernel.ts";
import { dequantize, dequantizeRoutines } from "./dequantize.ts";
import { type NoParameters, rowsDefinition, rowsProduct } from "../products/plain.ts";
import { packCodesRoutines } from "./pack.ts";
import { type CodesProduct, defineCodesProduct } from "./product.ts";

export type { CodesMatrix } from "./matrix.ts";
export { packCodesOf } from "./pack.ts";
export { type CodesProduct, defineCodesProduct, launchCodesProduct } from "./product.ts";

/** Rows times codes, as they are. */
export const rowsCodesProduct: CodesProduct<NoParameters> = /*#__PURE__*/ defineCodesProduct(
  rowsDefinition,
  rowsProduct,
);

/** Kernels that read quantised weights, and the routines of the parts. */
export const quantizedKernels: KernelSet = {
  kernels: { dequantize },
  routines: [...dequantizeRoutines, ...packCodesRoutines, rowsCodesProduct.routine],
};
