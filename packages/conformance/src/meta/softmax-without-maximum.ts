import { div, equal, exp, select, sum } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which softmax does not subtract the maximum first, so that large logits overflow.
 */
export const softmaxWithoutMaximum: BrokenBackend = /*#__PURE__*/ broken({
  name: "softmax-without-maximum",
  fault: "softmax does not subtract the maximum first, so that large logits overflow",
  caughtBy: "L1/softmax/large-logits",
  kernels: {
    softmax: (call) =>
      call.tensors(([x, mask]) => {
        if (!x || x.size === 0) return x ? [x] : [];
        const powers = mask ? select(mask, exp(x), 0) : exp(x);
        const total = sum(powers, [-1], true);
        return [div(powers, select(equal(total, 0), 1, total))];
      }),
  },
});
