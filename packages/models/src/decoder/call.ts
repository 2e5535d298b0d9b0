import { ConfigError, type RoutingBase, type Tensor, foldIn, ones, writeSlice } from "@moiety/core";
import type { BlockContext } from "./block.ts";
import type { KeyValueCache, LayerCache } from "./cache.ts";
import type { DecoderConfig } from "./config.ts";
import type { DecoderContext } from "./decoder.ts";
import { rotaryTables } from "./rotary.ts";

/** What is the same for all layers in one call of a decoder. */
export interface Call {
  /**
   * What a layer is told; `carry` is what an earlier layer's routing left for later ones, `selected`
   * choices to be played back.
   */
  layerContext(
    layer: number,
    carry: RoutingBase["carry"],
    selected: Tensor | undefined,
  ): BlockContext;
  /** The cache after the call, made of what the layers gave. */
  cacheAfter(layers: readonly (LayerCache | undefined)[]): KeyValueCache | undefined;
}

/** Prepares positions, masks and the routers' context of a call with `ids [B, T]`. */
export function prepareCall(
  config: DecoderConfig,
  ids: Tensor,
  context: DecoderContext,
  dtype: "f32" | "f64",
): Call {
  const { backend } = ids;
  const [batch = 0, tokens = 0] = ids.shape;
  const { cache } = context;
  const position = cache?.length ?? 0;
  const length = Math.max(context.length ?? 0, cache?.turnedFor ?? 0, position + tokens);
  const rotary = rotaryTables(
    backend,
    config.layers.map((layer) => layer.attention ?? config.attention),
    { start: position, end: position + tokens, length, dtype },
  );
  const cacheMask =
    cache?.mask &&
    writeSlice(cache.mask, context.mask ?? ones(backend, [batch, tokens], "bool"), {
      starts: [0, position],
    });
  const attention = { position, mask: cache ? cacheMask : context.mask };
  const route = {
    sequences: Array.from({ length: batch + 1 }, (_, index) => index * tokens),
    mask: context.mask?.reshape([batch * tokens]),
    tokenIds: ids.reshape([batch * tokens]),
    labels: context.labels?.reshape([batch * tokens]),
    training: context.training,
  };
  return {
    layerContext: (layer, carry, selected) => ({
      attention: {
        ...attention,
        rotary: rotary[layer] ?? lost("rotary table"),
        cache: cache?.layers[layer],
      },
      route: {
        ...route,
        previous: carry,
        selected,
        key: context.key && foldIn(context.key, layer),
      },
    }),
    cacheAfter(layers) {
      if (!cache) return undefined;
      return {
        length: position + tokens,
        capacity: cache.capacity,
        turnedFor: length,
        layers: layers.map((layer) => layer ?? lost("cache")),
        ...(cacheMask && { mask: cacheMask }),
      };
    },
  };
}

function lost(what: string): never {
  throw new ConfigError(`a layer has no ${what}; give one for each layer`, "cache", undefined);
}
