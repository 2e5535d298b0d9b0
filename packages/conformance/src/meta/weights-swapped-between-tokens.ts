import { swapRows } from "./parts/rows.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which the first and the third token have their weights swapped, while each keeps its
 * own experts.
 */
export const weightsSwappedBetweenTokens: BrokenBackend = /*#__PURE__*/ broken({
  name: "weights-swapped-between-tokens",
  fault:
    "the first and the third token have their weights swapped, while each keeps its own experts",
  caughtBy: "L1/route/law-permute-tokens",
  kernels: {
    routeTopK: (call) =>
      call.changed(([, , weights]) => {
        if (weights && weights.rows >= 3) swapRows(weights, 0, 2);
      }),
  },
});
