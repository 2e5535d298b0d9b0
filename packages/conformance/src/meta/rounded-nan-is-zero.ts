import { isNaN, round, select } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import { BLOCK, linearOfRounded, roundedBy, withRows } from "./parts/rounded-linear.ts";

/** A backend in which NaN becomes 0 where linear makes whole numbers of activations. */
export const roundedNanIsZero: BrokenBackend = /*#__PURE__*/ broken({
  name: "rounded-nan-is-zero",
  fault: "NaN among the rows of linear becomes 0 where they are made whole numbers",
  caughtBy: "L3/quantised/q4_block32_a8-linear-nan-row",
  kernels: {
    linear: (call) =>
      linearOfRounded(call, (given) =>
        withRows(
          roundedBy(given.x, BLOCK, (steps) => {
            const whole = round(steps);
            return select(isNaN(whole), 0, whole);
          }),
          given,
        ),
      ),
  },
});
