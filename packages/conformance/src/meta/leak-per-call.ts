import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which every call of iota leaves a buffer behind that nobody frees. */
export const leakPerCall: BrokenBackend = /*#__PURE__*/ broken({
  name: "leak-per-call",
  fault: "every call of iota leaves a buffer behind that nobody frees",
  caughtBy: "L0/statistics/up-and-down",
  kernels: {
    iota(call) {
      call.driver.allocate({ shape: [16], dtype: "f32" });
      return call.honest();
    },
  },
});
