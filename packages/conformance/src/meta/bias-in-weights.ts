import { type RouteAttributes, add, routeTopK, weighChoices } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the selection bias leaks into the weights. */
export const biasInWeights: BrokenBackend = /*#__PURE__*/ broken({
  name: "bias-in-weights",
  fault: "the selection bias leaks into the weights",
  caughtBy: "L1/route/bias-never-weighs",
  kernels: {
    routeTopK: (call) =>
      call.tensors((inputs, attributes) => {
        const [logits, bias] = inputs;
        const [scores, indices, weights] = decompositionOf(routeTopK)(inputs, attributes);
        if (!logits || !bias || !scores || !indices || !weights) {
          return decompositionOf(routeTopK)(inputs, attributes);
        }
        const spec = call.attributes<RouteAttributes>();
        const biased = weighChoices({ logits, scores: add(scores, bias), indices }, spec);
        return [scores, indices, biased];
      }),
  },
});
