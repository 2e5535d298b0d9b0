import { add, select, softmax } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the mask of softmax adds −100 instead of leaving out. */
export const maskAsLargeNegative: BrokenBackend = /*#__PURE__*/ broken({
  name: "mask-as-large-negative",
  fault: "the mask of softmax adds −100 instead of leaving out",
  caughtBy: "L1/softmax/masked-not-looked-at",
  kernels: {
    softmax: (call) =>
      call.tensors(([x, mask], attributes) => {
        const shifted = x && mask ? select(mask, x, add(x, -100)) : x;
        return decompositionOf(softmax)([shifted, undefined], attributes);
      }),
  },
});
