import { HALVES, decode } from "../yardstick/half.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a cast to half floats rounds to odd instead of to nearest even. */
export const castsRoundToOdd: BrokenBackend = /*#__PURE__*/ broken({
  name: "casts-round-to-odd",
  fault: "a cast to half floats rounds to odd instead of to nearest even",
  caughtBy: "L0/cast/from-f32",
  kernels: {
    cast: (call) =>
      call.changed(([halves], [x]) => {
        if (!x || (halves?.dtype !== "f16" && halves?.dtype !== "bf16")) return;
        const format = HALVES[halves.dtype];
        for (let at = 0; at < halves.data.length; at++) {
          const [value, bits] = [x.data[at] ?? 0, halves.data[at] ?? 0];
          const nearest = decode(bits, format);
          if (Number.isNaN(value) || nearest === value) continue;
          const truncated = Math.abs(nearest) > Math.abs(value) ? bits - 1 : bits;
          halves.data[at] = truncated | 1;
        }
      }),
  },
});
