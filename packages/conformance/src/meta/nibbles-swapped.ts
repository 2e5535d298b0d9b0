import type { DequantizeAttributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend that takes the first of two 4-bit codes from the high half of their byte. */
export const nibblesSwapped: BrokenBackend = /*#__PURE__*/ broken({
  name: "nibbles-swapped",
  fault: "of two codes in a byte, the one in the high bits is taken for the first",
  caughtBy: "L3/dequantize/q4_block32-all-codes",
  kernels: {
    dequantize: (call) =>
      call.changed(([values]) => {
        const { format } = call.attributes<DequantizeAttributes>();
        if (format !== "q4_block32" || !values) return;
        const { data } = values;
        for (let at = 0; at + 1 < data.length; at += 2) {
          [data[at], data[at + 1]] = [data[at + 1] ?? 0, data[at] ?? 0];
        }
      }),
  },
});
