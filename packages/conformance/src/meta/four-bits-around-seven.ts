import { type DequantizeAttributes, quantizedFormats } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which 4-bit codes are taken as distances from 7 instead of 8. */
export const fourBitsAroundSeven: BrokenBackend = /*#__PURE__*/ broken({
  name: "four-bits-around-seven",
  fault: "4-bit codes are taken as distances from 7 instead of 8",
  caughtBy: "L3/dequantize/q4_block32-blocks-2",
  kernels: {
    dequantize: (call) =>
      call.changed(([values], [, scales]) => {
        const { format } = call.attributes<DequantizeAttributes>();
        const { block = 1 } = quantizedFormats[format];
        if (format !== "q4_block32" || !values) return;
        for (const [at, value] of values.data.entries()) {
          values.data[at] = value + (scales?.data[Math.floor(at / block)] ?? 0);
        }
      }),
  },
});
