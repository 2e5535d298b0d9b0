import { ConfigError, type RouteSpec, UnsupportedError } from "@moiety/core";
import { type ShapedRouter, linearRouter, routerCatalogue } from "@moiety/routers";
import type {
  CatalogueRouterConfig,
  PresetRouterConfig,
  RouterConfig,
  StagedRouterConfig,
} from "./config.ts";
import type { DecoderRouterState, LeafTree } from "./params.ts";
import { presets } from "./presets.ts";

/** The router that a {@link RouterConfig} describes. */
export interface DecoderRouter extends ShapedRouter<LeafTree, DecoderRouterState> {
  /** Its stages, where it is made of some. */
  readonly spec?: RouteSpec | undefined;
}

/** What the routers of a model have in common. */
interface RouterSizes {
  readonly hiddenSize: number;
  readonly initializerRange: number;
}

/** Builds a router. @throws ConfigError where its options make no sense */
export function decoderRouter(config: RouterConfig, sizes: RouterSizes): DecoderRouter {
  if (config.kind === "catalogue") return catalogueRouter(config, sizes);
  if (!isStaged(config)) return presetRouter(config, sizes);
  const { hiddenSize: inputSize, initializerRange } = sizes;
  const { spec, jitter, noise, linearBias, logitSoftcap } = config;
  const stages = { spec, jitter, noise };
  return anyRouter(
    linearRouter({ ...stages, linearBias, logitSoftcap, inputSize, initializerRange }),
  );
}

/** Whether a router is a spec behind a linear gate, and no preset. */
export function isStaged(config: RouterConfig): config is StagedRouterConfig {
  return config.kind === undefined || config.kind === "staged";
}

function presetRouter({ kind, ...options }: PresetRouterConfig, sizes: RouterSizes): DecoderRouter {
  if (Object.hasOwn(presets, kind)) {
    // The type of the configuration ties the options to the kind.
    const make = presets[kind] as (options: unknown) => { readonly shapes: unknown };
    return anyRouter(make({ ...options, ...sizes }));
  }
  const known = Object.keys(presets).join(", ");
  throw new ConfigError(
    `router.kind is ${String(kind)}, but must be staged, catalogue or one of ${known}`,
    "router.kind",
    kind,
  );
}

function catalogueRouter(
  config: CatalogueRouterConfig,
  { hiddenSize }: RouterSizes,
): DecoderRouter {
  const { name, causal = false, experts, topK, vocabSize } = config;
  const entry = routerCatalogue.find((one) => one.name === name);
  if (entry === undefined) {
    const known = routerCatalogue.map((one) => one.name).join(", ");
    throw new ConfigError(
      `router.name is ${String(name)}, but must be one of ${known}`,
      "router.name",
      name,
    );
  }
  const options = { hiddenSize, experts, topK, vocabSize };
  if (!causal) return anyRouter(entry.make(options));
  if (entry.causal.rule === "none") {
    throw new UnsupportedError(
      `${name} has no rule for causal models: ${entry.causal.reason}`,
      "a causal rule",
    );
  }
  return anyRouter((entry.makeCausal ?? entry.make)(options));
}

/** A router under the type that all of a decoder's share: what its leaves are, data decided. */
function anyRouter(router: { readonly shapes: unknown }): DecoderRouter {
  return router as DecoderRouter;
}
