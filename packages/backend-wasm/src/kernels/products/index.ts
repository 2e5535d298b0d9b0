/**
 * Matrix products, and the parts that other kernels build theirs of.
 *
 * A product is rows times panels. The **right factor** is packed: `packWeights` (kept with the
 * weights' buffer) or `packRight` (for one call) turn matrices of any strides and of f32, f16 or bf16
 * into panels of 8 columns, `[K][8]` floats; with `kinds` the first four lanes of a panel come from
 * one half of a matrix and the last four from another, so that a gate and what it gates meet in one
 * tile. The **left factor** is read where it lies, row by row (`layout: "rows"`): by a stride, or
 * through a table of rows' addresses, which is how tokens are gathered (`tabulateRows`); or it is
 * packed in tiles where its columns are the product's rows (`layout: "packed"`, `packTiles`).
 *
 * `defineProduct` makes a product with an **epilogue**: code that gets the complete sums of a tile in
 * locals, with the numbers of its first row, its first column, its group, and the columns that are
 * there, and stores what it likes (`storeRows` stores rows whose last columns may be missing, `storeSums`
 * is the epilogue that only stores). Its routine belongs in the `routines` of a kernel set.
 * `launchProduct` runs it over **segments**, each some rows times one packed matrix; it cuts them into
 * jobs by their shapes.
 *
 * Each sum is one chain in ascending k, `madd` by `madd`, from zero: the same bits for every size of
 * tile, every cut, one row or many, and any number of threads.
 */
import type { KernelSet } from "../../kernel.ts";
import { groupedMatmul } from "./grouped-matmul.ts";
import { matmul } from "./matmul.ts";
import { packRoutines } from "./pack.ts";
import { rowsProduct, tilesProduct } from "./plain.ts";
import { rowRoutines } from "./rows.ts";
import { groupedMatmulGradWeights } from "./weight-gradient.ts";

export type { FactorDType } from "./elements.ts";
export type { Product } from "./product.ts";
export { defineProduct, launchProduct } from "./product.ts";
export type { RightFactor } from "./right.ts";
export { packWeights } from "./right.ts";
export { storeRows } from "./store.ts";
export type { FinishedTile, ProductDefinition } from "./sweep.ts";

/** Kernels of the matrix products, and the routines of the parts. */
export const productKernels: KernelSet = {
  kernels: { matmul, groupedMatmul, groupedMatmulGradWeights },
  routines: [...packRoutines, ...rowRoutines, rowsProduct.routine, tilesProduct.routine],
};
