import { cast, routeTopK } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the router computes with logits rounded to f16. */
export const routerInHalfFloats: BrokenBackend = /*#__PURE__*/ broken({
  name: "router-in-half-floats",
  fault: "the router computes with logits rounded to f16",
  caughtBy: "L1/route/equal-after-f16",
  kernels: {
    routeTopK: (call) =>
      call.tensors(([logits, ...others], attributes) => {
        const rounded = logits && cast(cast(logits, { dtype: "f16" }), { dtype: "f32" });
        const input = logits?.dtype === "f32" ? rounded : logits;
        return decompositionOf(routeTopK)([input, ...others], attributes);
      }),
  },
});
