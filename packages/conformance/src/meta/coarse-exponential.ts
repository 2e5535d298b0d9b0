import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which exp is a fast approximation with an error of one part in ten thousand. */
export const coarseExponential: BrokenBackend = /*#__PURE__*/ broken({
  name: "coarse-exponential",
  fault: "exp is a fast approximation with an error of one part in ten thousand",
  caughtBy: "L0/unary/exp",
  kernels: {
    unary: (call) =>
      call.changed(([y]) => {
        if (y?.dtype !== "f32" || call.attributes<{ kind: string }>().kind !== "exp") return;
        for (let at = 0; at < y.data.length; at++) y.data[at] = (y.data[at] ?? 0) * 1.0001;
      }),
  },
});
