import {
  type MapTree,
  type MoeLayer,
  type ProductFormat,
  type Shape,
  type SharedBranch,
  moe,
} from "@moiety/core";
import { sharedExpert } from "@moiety/experts";
import { decoderBank, networksOf } from "./bank.ts";
import type { MoeConfig } from "./config.ts";
import type { DecoderMoeParams, DecoderMoeState, DecoderRouterState, LeafTree } from "./params.ts";
import { type DecoderRouter, decoderRouter } from "./router.ts";

/** The Mixture-of-Experts layer that a {@link MoeConfig} describes. */
export type DecoderMoe = MoeLayer<LeafTree, DecoderRouterState, LeafTree, LeafTree | undefined>;

/** A layer with the shapes of its leaves. */
export interface MoePart {
  readonly layer: DecoderMoe;
  readonly router: DecoderRouter;
  /** How many experts have weights under their own numbers. */
  readonly networks: number;
  readonly shapes: MapTree<DecoderMoeParams, Shape>;
  readonly stateShapes: MapTree<DecoderMoeState, Shape>;
}

/**
 * Builds a layer of width `hiddenSize`; `format` is that of its shared expert, held in floats unless
 * given. @throws ConfigError where its parts do not fit
 */
export function moePart(
  config: MoeConfig,
  hiddenSize: number,
  initializerRange: number,
  format?: ProductFormat,
): MoePart {
  const { shared } = config;
  const sizes = { hiddenSize, initializerRange };
  const router = decoderRouter(config.router, sizes);
  const experts = decoderBank(config, router.experts, sizes);
  const branch = shared && sharedExpert({ ...shared, ...sizes, format });
  return {
    router,
    networks: networksOf(config, router.experts),
    layer: moe<LeafTree, DecoderRouterState, LeafTree, LeafTree | undefined>({
      router,
      experts,
      shared: branch as SharedBranch<LeafTree | undefined> | undefined,
    }),
    shapes: {
      router: router.shapes,
      experts: experts.shapes,
      shared: branch?.shapes as MapTree<LeafTree, Shape> | undefined,
    },
    stateShapes: { router: router.stateShapes },
  };
}
