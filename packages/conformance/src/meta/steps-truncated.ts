import { type Tensor, abs, floor, mul, sign } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import { BLOCK, linearOfRounded, roundedBy, withRows } from "./parts/rounded-linear.ts";

const towardsZero = (steps: Tensor): Tensor => mul(sign(steps), floor(abs(steps)));

/** A backend in which activations are cut off at whole steps instead of rounded. */
export const stepsTruncated: BrokenBackend = /*#__PURE__*/ broken({
  name: "steps-truncated",
  fault: "activations become the whole steps towards zero instead of the nearest",
  caughtBy: "L3/quantised/q4_block32_a8-linear-rows-8",
  kernels: {
    roundBlocks: (call) => call.tensors(([x]) => (x ? [roundedBy(x, BLOCK, towardsZero)] : [])),
    linear: (call) =>
      linearOfRounded(call, (given) => withRows(roundedBy(given.x, BLOCK, towardsZero), given)),
  },
});
