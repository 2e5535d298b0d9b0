import { routeTopKBackward } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the gradient of the weights does not reach the router. */
export const missingRouterPath: BrokenBackend = /*#__PURE__*/ broken({
  name: "missing-router-path",
  fault: "the gradient of the weights does not reach the router",
  caughtBy: "L1/grad/route-top-k-renormalized",
  kernels: {
    routeTopKBackward: (call) =>
      call.tensors((inputs, attributes) =>
        decompositionOf(routeTopKBackward)(inputs.with(3, undefined), attributes),
      ),
  },
});
