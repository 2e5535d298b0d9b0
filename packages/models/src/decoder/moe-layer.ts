import { type MapTree, type MoeLayer, type Shape, moe } from "@moiety/core";
import {
  type FfnBank,
  type FfnParams,
  type SharedExpertParams,
  glu,
  mlp,
  sharedExpert,
} from "@moiety/experts";
import { type LinearRouterParams, type LinearRouterState, linearRouter } from "@moiety/routers";
import type { MoeConfig } from "./config.ts";
import type { DecoderMoeParams, DecoderMoeState } from "./params.ts";

/** The Mixture-of-Experts layer that a {@link MoeConfig} describes. */
export type DecoderMoe = MoeLayer<
  LinearRouterParams,
  LinearRouterState,
  FfnParams,
  SharedExpertParams | undefined
>;

/** A layer with the shapes of its leaves. */
export interface MoePart {
  readonly layer: DecoderMoe;
  readonly shapes: MapTree<DecoderMoeParams, Shape>;
  readonly stateShapes: MapTree<DecoderMoeState, Shape>;
}

/** Builds a layer of width `hiddenSize`. @throws ConfigError where its parts do not fit */
export function moePart(config: MoeConfig, hiddenSize: number, initializerRange: number): MoePart {
  const { router: routerConfig, expert, shared } = config;
  const { spec, linearBias, noise } = routerConfig;
  const common = { hiddenSize, initializerRange };
  const router = linearRouter({ ...routerConfig, inputSize: hiddenSize, initializerRange });
  const options = { ...expert, ...common, experts: spec.experts };
  const experts: FfnBank<FfnParams> = expert.gated ? glu(options) : mlp(options);
  const branch = shared && sharedExpert({ ...shared, ...common });
  const weight = [spec.experts, hiddenSize];
  return {
    layer: moe<LinearRouterParams, LinearRouterState, FfnParams, SharedExpertParams | undefined>({
      router,
      experts,
      shared: branch,
    }),
    shapes: {
      router: {
        weight,
        ...(linearBias && { bias: [spec.experts] }),
        ...(noise?.kind === "learned" && { noise: weight }),
      },
      experts: experts.shapes,
      shared: branch?.shapes,
    },
    stateShapes: { router: spec.bias ? { selectionBias: [spec.experts] } : {} },
  };
}
