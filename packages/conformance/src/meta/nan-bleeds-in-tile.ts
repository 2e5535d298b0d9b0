import { hasNaN } from "./parts/rows.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which NaN in one token reaches the other tokens of its tile, as 0 · NaN in a
 * product.
 */
export const nanBleedsInTile: BrokenBackend = /*#__PURE__*/ broken({
  name: "nan-bleeds-in-tile",
  fault: "NaN in one token reaches the other tokens of its tile, as 0 · NaN in a product",
  caughtBy: "L3/moe-ffn/nan-token-tile",
  kernels: {
    moeFfn: (call) =>
      call.changed(([y], [x]) => {
        if (!x || !y || y.rows !== x.rows) return;
        for (let row = 0; row < x.rows; row++) {
          if (!hasNaN(x, row)) continue;
          const first = row - (row % 8);
          y.data.fill(Number.NaN, first * y.width, (first + 8) * y.width);
        }
      }),
  },
});
