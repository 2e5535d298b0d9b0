import { UnsupportedError } from "@moiety/core";
import type { DecoderConfig, LayerConfig } from "./config.ts";
import { decoderRouter } from "./router.ts";

/**
 * The decoder by which a causal model is evaluated, on the same parameters and state: every router of
 * the catalogue by its causal rule. No token then sees a later one, whatever training lets it see.
 * @throws UnsupportedError for a router that has no such rule
 *
 * @example
 * const evaluated = decoder(causalDecoder(model.config));
 * const { logits } = apply(evaluated, params, state, ids);
 */
export function causalDecoder(config: DecoderConfig): DecoderConfig {
  return { ...config, layers: config.layers.map((layer) => causalLayer(config, layer)) };
}

function causalLayer(sizes: DecoderConfig, layer: LayerConfig): LayerConfig {
  if (!("moe" in layer)) return layer;
  const { router } = layer.moe;
  if (router.kind === "catalogue") {
    return { ...layer, moe: { ...layer.moe, router: { ...router, causal: true } } };
  }
  if (!decoderRouter(router, sizes).acrossTokens) return layer;
  throw new UnsupportedError(
    "the model's router lets tokens look at each other, and names no rule for causal models; take " +
      "one of the catalogue",
    "a causal rule",
  );
}
