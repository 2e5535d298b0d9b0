import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which weights are not renormalised. */
export const missingRenormalisation: BrokenBackend = /*#__PURE__*/ broken({
  name: "missing-renormalisation",
  fault: "weights are not renormalised",
  caughtBy: "L1/route/renormalize-sum",
  kernels: {
    routeTopK: (call) => {
      const { renormalize: _, ...spec } = call.call.attributes;
      return call.honest(spec);
    },
  },
});
