import { operandAt } from "./parts/operands.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which integers divided by 0 give −1, as some devices have it, instead of 0. */
export const integerDivisionByZero: BrokenBackend = /*#__PURE__*/ broken({
  name: "integer-division-by-zero",
  fault: "integers divided by 0 give −1, as some devices have it, instead of 0",
  caughtBy: "L0/binary/div-i32",
  kernels: {
    binary: (call) =>
      call.changed(([quotient]) => {
        const { kind, scalar } = call.attributes<{ kind: string; scalar?: number }>();
        if (kind !== "div" || quotient?.dtype !== "i32") return;
        const divisor = operandAt(call, 1, quotient, scalar);
        for (let at = 0; at < quotient.data.length; at++) {
          if (divisor(at) === 0) quotient.data[at] = -1;
        }
      }),
  },
});
