import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import { linearOfRounded, withRows } from "./parts/rounded-linear.ts";

/** A backend in which linear reads rows as they are where its format says that they are rounded. */
export const activationsNotRounded: BrokenBackend = /*#__PURE__*/ broken({
  name: "activations-not-rounded",
  fault: "linear reads rows as they are where its format says that they are rounded",
  caughtBy: "L3/quantised/q8_block32_a8-linear-rows-5",
  kernels: {
    linear: (call) => linearOfRounded(call, (given) => withRows(given.x, given)),
  },
});
