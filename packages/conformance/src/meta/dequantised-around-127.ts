import type { DequantizeAttributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which codes of quantised weights are taken as distances from 127 instead of 128. */
export const dequantisedAround127: BrokenBackend = /*#__PURE__*/ broken({
  name: "dequantised-around-127",
  fault: "codes of quantised weights are taken as distances from 127 instead of 128",
  caughtBy: "L3/dequantize/all-codes",
  kernels: {
    dequantize: (call) =>
      call.changed(([values], [, scales]) => {
        if (call.attributes<DequantizeAttributes>().format !== "q8_row") return;
        for (let at = 0; at < (values?.data.length ?? 0); at++) {
          const scale = scales?.data[Math.floor(at / (values?.width ?? 1))] ?? 0;
          if (values) values.data[at] = (values.data[at] ?? 0) + scale;
        }
      }),
  },
});
