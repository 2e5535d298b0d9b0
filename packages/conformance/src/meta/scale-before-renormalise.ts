import { type Attributes, type RouteAttributes, mul, renormalize, routeTopK } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which weights are scaled before they are renormalised, so that the scale is lost.
 */
export const scaleBeforeRenormalise: BrokenBackend = /*#__PURE__*/ broken({
  name: "scale-before-renormalise",
  fault: "weights are scaled before they are renormalised, so that the scale is lost",
  caughtBy: "L1/route/scale-after-renormalize",
  kernels: {
    routeTopK(call) {
      const { renormalize: how, scale, ...spec } = call.attributes<RouteAttributes>();
      if (!how || scale === undefined) return call.honest();
      return call.tensors((inputs) => {
        const raw = decompositionOf(routeTopK)(inputs, spec as unknown as Attributes);
        const [scores, indices, weights] = raw;
        if (!scores || !indices || !weights) return raw;
        return [scores, indices, renormalize(mul(weights, scale), how)];
      });
    },
  },
});
