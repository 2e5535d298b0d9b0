import type { Body } from "../../emit/body.ts";
import type { Arguments } from "../../routine.ts";
import { type Product, defineProduct } from "./product.ts";
import { storeRows } from "./store.ts";
import type { FinishedTile, ProductDefinition, ProductParameters } from "./sweep.ts";

/** The parameters of an epilogue that has none. */
export type NoParameters = Readonly<Record<never, never>>;

/** Stores the sums of a tile: one f32 for each row and column. */
function storeSums(
  body: Body,
  { sums, row, column, columns }: FinishedTile,
  { out, outStride }: Pick<Arguments<ProductParameters>, "out" | "outStride">,
): void {
  const addresses = sums.map((_, index) =>
    body.let(out.add(row.add(index).mul(outStride)).add(column.shl(2))),
  );
  storeRows(body, addresses, sums, columns);
}

/** How {@link rowsProduct} is defined. */
export const rowsDefinition: ProductDefinition<NoParameters> = {
  name: "productOfRows",
  layout: "rows",
  parameters: {},
  epilogue: storeSums,
};

/** Rows times panels, as they are. */
export const rowsProduct: Product<NoParameters> = /*#__PURE__*/ defineProduct(rowsDefinition);

/** Packed tiles times panels, as they are. */
export const tilesProduct: Product<NoParameters> = /*#__PURE__*/ defineProduct({
  name: "productOfTiles",
  layout: "packed",
  parameters: {},
  epilogue: storeSums,
});
