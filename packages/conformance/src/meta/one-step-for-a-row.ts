import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import { linearOfRounded, roundedBy, withRows } from "./parts/rounded-linear.ts";

/** A backend in which linear rounds a whole row by the step of its largest number. */
export const oneStepForARow: BrokenBackend = /*#__PURE__*/ broken({
  name: "one-step-for-a-row",
  fault: "linear rounds a whole row by one step instead of each block by its own",
  caughtBy: "L3/quantised/q8_block32_a8-linear-rows-3",
  kernels: {
    linear: (call) =>
      linearOfRounded(call, (given) => {
        const width = Math.max(1, given.x.shape.at(-1) ?? 1);
        return withRows(roundedBy(given.x, width), given);
      }),
  },
});
