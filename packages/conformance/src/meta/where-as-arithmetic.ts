import { operandAt } from "./parts/operands.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which where is computed as c·a + (1 − c)·b, so that a NaN on the side that is not
 * chosen comes through.
 */
export const whereAsArithmetic: BrokenBackend = /*#__PURE__*/ broken({
  name: "where-as-arithmetic",
  fault:
    "where is computed as c·a + (1 − c)·b, so that a NaN on the side that is not chosen comes through",
  caughtBy: "L0/where/unchosen-nan",
  kernels: {
    where: (call) =>
      call.changed(([chosen]) => {
        if (chosen?.dtype !== "f32") return;
        const { a: one, b: other } = call.attributes<{ a?: number; b?: number }>();
        const [a, b] = [operandAt(call, 1, chosen, one), operandAt(call, 2, chosen, other)];
        for (let at = 0; at < chosen.data.length; at++) {
          if (!Number.isFinite(a(at)) || !Number.isFinite(b(at))) chosen.data[at] = Number.NaN;
        }
      }),
  },
});
