/**
 * Products of rows that are rounded to bytes, block by block, with codes in blocks of 32: sums of whole
 * numbers within a block, exact in 16 bits, and floats from block to block.
 */
import type { Routine } from "../../routine.ts";
import { type NoParameters, rowsDefinition } from "../products/plain.ts";
import { packBlocksRoutines } from "./pack.ts";
import { type RoundedProduct, defineRoundedProduct } from "./product.ts";
import { roundRoutines } from "./rows.ts";

export { packBlocks } from "./pack.ts";
export { type RoundedProduct, defineRoundedProduct, launchRoundedProduct } from "./product.ts";
export { roundedRows } from "./rows.ts";

/** Rounded rows times codes, as they are. */
export const rowsRoundedProduct: RoundedProduct<NoParameters> =
  /*#__PURE__*/ defineRoundedProduct(rowsDefinition);

/** Routines of the parts. */
export const roundedRoutines: readonly Routine[] = [
  ...roundRoutines,
  ...packBlocksRoutines,
  rowsRoundedProduct.routine,
];
