import { operandAt } from "./parts/operands.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which integers are multiplied as 32-bit floats: large products are rounded and do
 * not wrap.
 */
export const integersThroughFloats: BrokenBackend = /*#__PURE__*/ broken({
  name: "integers-through-floats",
  fault: "integers are multiplied as 32-bit floats: large products are rounded and do not wrap",
  caughtBy: "L0/binary/mul-i32",
  kernels: {
    binary: (call) =>
      call.changed(([product]) => {
        const { kind, scalar } = call.attributes<{ kind: string; scalar?: number }>();
        if (kind !== "mul" || product?.dtype !== "i32") return;
        const [a, b] = [operandAt(call, 0, product), operandAt(call, 1, product, scalar)];
        for (let at = 0; at < product.data.length; at++) {
          const rounded = Math.fround(Math.fround(a(at)) * Math.fround(b(at)));
          product.data[at] = Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, rounded));
        }
      }),
  },
});
