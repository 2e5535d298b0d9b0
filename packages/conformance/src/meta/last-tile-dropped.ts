import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which rows of a product behind its last whole tile of 16 are not computed. */
export const lastTileDropped: BrokenBackend = /*#__PURE__*/ broken({
  name: "last-tile-dropped",
  fault: "rows of a product behind its last whole tile of 16 are not computed",
  caughtBy: "L3/matmul/size-33",
  kernels: {
    matmul: (call) =>
      call.changed(([product]) => {
        const rows = product?.shape.at(-2) ?? 0;
        if (!product || rows < 16) return;
        for (let end = rows; end <= product.rows; end += rows) {
          product.data.fill(0, (end - (rows % 16)) * product.width, end * product.width);
        }
      }),
  },
});
