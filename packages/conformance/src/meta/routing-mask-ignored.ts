import { routeTopK } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which experts that the mask forbids are chosen like any others. */
export const routingMaskIgnored: BrokenBackend = /*#__PURE__*/ broken({
  name: "routing-mask-ignored",
  fault: "experts that the mask forbids are chosen like any others",
  caughtBy: "L1/route/allowed-sigmoid",
  kernels: {
    routeTopK: (call) =>
      call.tensors(([logits, bias], attributes) =>
        decompositionOf(routeTopK)([logits, bias, undefined], attributes),
      ),
  },
});
