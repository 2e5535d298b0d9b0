import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which exclusive running sums include the element itself. */
export const exclusiveSumsInclude: BrokenBackend = /*#__PURE__*/ broken({
  name: "exclusive-sums-include",
  fault: "exclusive running sums include the element itself",
  caughtBy: "L0/cumsum/floats",
  kernels: {
    cumsum: (call) => call.honest({ ...call.call.attributes, exclusive: false }),
  },
});
