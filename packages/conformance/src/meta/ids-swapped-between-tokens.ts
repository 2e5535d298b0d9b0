import { swapRows } from "./parts/rows.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which the last two tokens have their experts swapped, while each keeps its own
 * weights.
 */
export const idsSwappedBetweenTokens: BrokenBackend = /*#__PURE__*/ broken({
  name: "ids-swapped-between-tokens",
  fault: "the last two tokens have their experts swapped, while each keeps its own weights",
  caughtBy: "L1/route/own-choices",
  kernels: {
    routeTopK: (call) =>
      call.changed(([, indices]) => {
        if (indices && indices.rows >= 2) swapRows(indices, indices.rows - 2, indices.rows - 1);
      }),
  },
});
