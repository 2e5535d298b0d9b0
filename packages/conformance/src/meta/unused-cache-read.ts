import { attention, add, mul, sum } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which values that no query sees are multiplied by 0 and added, so that a NaN among
 * them spreads.
 */
export const unusedCacheRead: BrokenBackend = /*#__PURE__*/ broken({
  name: "unused-cache-read",
  fault:
    "values that no query sees are multiplied by 0 and added, so that a NaN among them spreads",
  caughtBy: "L4/attention/unused-cache",
  kernels: {
    attention: (call) =>
      call.tensors((inputs, attributes) => {
        const [y] = decompositionOf(attention)(inputs, attributes);
        const [, , v] = inputs;
        return y && v ? [add(y, mul(sum(v, [1, 2, 3], true), 0))] : [];
      }),
  },
});
