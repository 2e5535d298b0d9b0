import { add } from "@moiety/core";
import { productPieces } from "./parts/matrix-pieces.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which products of few rows are summed in another order than those of many, though
 * batch invariance is promised.
 */
export const batchDependentSums: BrokenBackend = /*#__PURE__*/ broken({
  name: "batch-dependent-sums",
  fault:
    "products of few rows are summed in another order than those of many, though batch invariance is promised",
  caughtBy: "L3/batch-invariant/products",
  kernels: {
    matmul(call) {
      const rows = call.call.outputs[0]?.shape.at(-2) ?? 0;
      if (rows > 8) return call.honest();
      return call.tensors(([a, b]) =>
        a && b ? [productPieces(a, b, call.attributes(), 32).reduce((x, y) => add(x, y))] : [],
      );
    },
  },
});
