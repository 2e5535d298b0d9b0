import { swapRows } from "./parts/rows.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the first two rows of a grouped product are swapped. */
export const swappedRows: BrokenBackend = /*#__PURE__*/ broken({
  name: "swapped-rows",
  fault: "the first two rows of a grouped product are swapped",
  caughtBy: "L3/grouped-matmul/exact",
  kernels: {
    groupedMatmul: (call) =>
      call.changed(([product]) => {
        if (product && product.rows >= 2) swapRows(product, 0, 1);
      }),
  },
});
