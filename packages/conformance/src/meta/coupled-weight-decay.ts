import { type AdamWAttributes, adamW, add, mul } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which weight decay is added to the gradient instead of being decoupled. */
export const coupledWeightDecay: BrokenBackend = /*#__PURE__*/ broken({
  name: "coupled-weight-decay",
  fault: "weight decay is added to the gradient instead of being decoupled",
  caughtBy: "L4/adam-w/decay",
  kernels: {
    adamW: (call) =>
      call.tensors(([parameter, gradient, ...moments], attributes) => {
        const { weightDecay } = call.attributes<AdamWAttributes>();
        if (!parameter || !gradient) return [];
        const decayed = add(gradient, mul(parameter, weightDecay));
        return decompositionOf(adamW)([parameter, decayed, ...moments], {
          ...attributes,
          weightDecay: 0,
        });
      }),
  },
});
