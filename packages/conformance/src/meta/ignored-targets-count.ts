import { crossEntropy, maximum } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a target below 0 counts as class 0 instead of being ignored. */
export const ignoredTargetsCount: BrokenBackend = /*#__PURE__*/ broken({
  name: "ignored-targets-count",
  fault: "a target below 0 counts as class 0 instead of being ignored",
  caughtBy: "L4/cross-entropy/ignored",
  kernels: {
    crossEntropy: (call) =>
      call.tensors(([logits, targets], attributes) => {
        const counted = targets && maximum(targets, 0);
        return decompositionOf(crossEntropy)([logits, counted], attributes);
      }),
  },
});
