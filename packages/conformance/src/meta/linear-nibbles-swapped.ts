import {
  type LinearAttributes,
  concat,
  roundBlocks,
  roundsActivations,
  slice,
  storedFormat,
} from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import { matrixOf, rowsTimes } from "./parts/rounded-linear.ts";

/** A backend in which linear takes the first of two 4-bit codes from the high half of their byte. */
export const linearNibblesSwapped: BrokenBackend = /*#__PURE__*/ broken({
  name: "linear-nibbles-swapped",
  fault: "linear takes the first of two codes in a byte from the high bits",
  caughtBy: "L3/quantised/q4_block32_a8-linear-all-codes",
  kernels: {
    linear(call) {
      const { format } = call.attributes<LinearAttributes>();
      if (!format || storedFormat(format) !== "q4_block32") return call.honest();
      return call.tensors(([x, codes, scales]) => {
        if (!x || !codes || !scales) return [];
        const matrix = matrixOf(codes, scales, "q4_block32", x.shape.at(-1) ?? 0);
        const [rows = 0, width = 0] = matrix.shape;
        const pairs = matrix.reshape([rows, width / 2, 2]);
        const half = (place: number): typeof pairs =>
          slice(pairs, { starts: [0, 0, place], sizes: [rows, width / 2, 1] });
        const swapped = concat(half(1), half(0), { axis: 2 }).reshape([rows, width]);
        return [rowsTimes(roundsActivations(format) ? roundBlocks(x) : x, swapped)];
      });
    },
  },
});
