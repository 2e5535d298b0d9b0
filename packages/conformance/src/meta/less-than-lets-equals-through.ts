import { operandAt } from "./parts/operands.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which integers that equal the limit count as below it, so that every capacity is one
 * too large.
 */
export const lessThanLetsEqualsThrough: BrokenBackend = /*#__PURE__*/ broken({
  name: "less-than-lets-equals-through",
  fault: "integers that equal the limit count as below it, so that every capacity is one too large",
  caughtBy: "L2/capacity/one-over-position",
  kernels: {
    compare: (call) =>
      call.changed(([result], [x]) => {
        const { kind, scalar } = call.attributes<{ kind: string; scalar?: number }>();
        if (!result || kind !== "lt" || x?.dtype !== "i32") return;
        const [a, b] = [operandAt(call, 0, result), operandAt(call, 1, result, scalar)];
        for (let at = 0; at < result.data.length; at++) {
          if (a(at) === b(at)) result.data[at] = 1;
        }
      }),
  },
});
