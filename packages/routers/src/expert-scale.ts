import { type Tensor, constantParameter, gatherRows, mul } from "@moiety/core";
import { routerParameter } from "./gate.ts";
import type { StagedRouter } from "./staged-router.ts";

/** Beside a router's own parameters. */
export interface ExpertScaleParams {
  /** `[E]` factors of the experts' weights. */
  readonly expertScale: Tensor;
}

/**
 * A router whose finished weights are multiplied by a learned factor of each expert (Gemma 4's
 * `per_expert_scale`), which starts from 1. The factor changes no choice.
 */
export function scaledRouter<Params extends object>(
  router: StagedRouter<Params>,
): StagedRouter<Params & ExpertScaleParams> {
  const shape = [router.experts];
  type Own = StagedRouter<Params & ExpertScaleParams>;
  return {
    ...router,
    shapes: { ...router.shapes, expertScale: shape } as Own["shapes"],
    init(key, init) {
      const { params, state } = router.init(key, init);
      return { params: { ...params, expertScale: constantParameter(1, shape, init) }, state };
    },
    route(params, state, x, context) {
      const scale = routerParameter<ExpertScaleParams>(params, "expertScale", shape) as Tensor;
      const { expertScale: _, ...own } = params;
      const routing = router.route(own as unknown as Params, state, x, context);
      const factors = gatherRows(scale, routing.selected);
      const { inputWeights, outputWeights } = routing;
      return inputWeights
        ? { ...routing, inputWeights: mul(inputWeights, factors) }
        : { ...routing, outputWeights: mul(outputWeights, factors) };
    },
  };
}
