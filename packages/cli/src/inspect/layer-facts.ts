import type { JsonObject } from "@moiety/checkpoints";
import {
  type AttentionConfig,
  type DecoderConfig,
  type Family,
  type LayerConfig,
  type MoeConfig,
  blockFromConfig,
  headSizes,
  moePart,
} from "@moiety/models";

/** What attention a layer has. */
export interface AttentionFacts {
  /** `grouped` queries, or multi-head `latent` attention. */
  readonly kind: "grouped" | "latent";
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Width of a key; that of a value may differ. */
  readonly keyWidth: number;
  readonly valueWidth: number;
  /** Keys that a query sees at most; `null` for all. */
  readonly window: number | null;
  /** Whether heads have sinks. */
  readonly sinks: boolean;
  /** How rotary positions are stretched, such as `yarn`; `null` for not at all. */
  readonly ropeScaling: string | null;
}

/** What experts a layer has. */
export interface ExpertFacts {
  /** E, those without weights included. */
  readonly experts: number;
  /** Those with weights of their own number. */
  readonly networks: number;
  /** k; `null` where it varies or is not known. */
  readonly chosen: number | null;
  /** Width I of one. */
  readonly intermediateSize: number;
  /** Width of the shared expert; `null` where there is none. */
  readonly sharedIntermediateSize: number | null;
}

/** One layer. */
export interface LayerFacts {
  readonly layer: number;
  readonly attention: AttentionFacts;
  /** Width of its dense network; `null` where it has experts. */
  readonly dense: number | null;
  readonly experts: ExpertFacts | null;
}

/** Facts of the layers of a model. */
export function layerFacts(config: DecoderConfig): LayerFacts[] {
  return config.layers.map((layer, index) => ({
    layer: index,
    attention: attentionFacts(layer.attention ?? config.attention),
    ...networkFacts(layer, config),
  }));
}

function networkFacts(
  layer: LayerConfig,
  { hiddenSize, initializerRange }: DecoderConfig,
): Pick<LayerFacts, "dense" | "experts"> {
  if (!("moe" in layer)) return { dense: layer.dense.intermediateSize, experts: null };
  const { router, networks } = moePart(layer.moe, hiddenSize, initializerRange);
  return { dense: null, experts: expertFacts(layer.moe, router.experts, networks) };
}

/** Facts of a family's block, where whole models are not built. @throws ConfigError, UnsupportedError */
export function blockFacts(family: Family, config: JsonObject): ExpertFacts {
  const { experts, sizes, moe } = blockFromConfig(family, config);
  return expertFacts(moe, experts, sizes.expert ?? experts);
}

function expertFacts(moe: MoeConfig, experts: number, networks: number): ExpertFacts {
  return {
    experts,
    networks,
    chosen: chosenBy(moe.router),
    intermediateSize: moe.expert.intermediateSize,
    sharedIntermediateSize: moe.shared?.intermediateSize ?? null,
  };
}

/** k of a router: of its stages, or under one of the names that presets have for it. */
function chosenBy(router: MoeConfig["router"]): number | null {
  const { spec, topK, numExpertsPerTok } = router as {
    readonly spec?: { readonly topK: number };
    readonly topK?: unknown;
    readonly numExpertsPerTok?: unknown;
  };
  const chosen = spec?.topK ?? topK ?? numExpertsPerTok;
  return typeof chosen === "number" ? chosen : null;
}

function attentionFacts(parts: AttentionConfig): AttentionFacts {
  const { heads, keyWidth, valueWidth } = headSizes(parts);
  return {
    kind: parts.kind ?? "grouped",
    heads: parts.numAttentionHeads,
    keyValueHeads: heads,
    keyWidth,
    valueWidth,
    window: parts.window ?? null,
    sinks: parts.sinks ?? false,
    ropeScaling: parts.ropeScaling?.kind ?? null,
  };
}
