import {
  ConfigError,
  type MoeContext,
  type RoutingBase,
  type Tensor,
  foldIn,
  ones,
  writeSlice,
} from "@moiety/core";
import type { BlockContext } from "./block.ts";
import type { KeyValueCache, LayerCache } from "./cache.ts";
import type { DecoderConfig } from "./config.ts";
import type { DecoderContext } from "./decoder.ts";
import { lastOf } from "./places.ts";
import { rotaryTables } from "./rotary.ts";

/** What one layer alone is told. */
export interface OwnContext {
  /** What an earlier layer's routing left for later ones. */
  readonly carry: RoutingBase["carry"];
  /** Choices to be played back. */
  readonly selected: Tensor | undefined;
  /** Whether it shall give the last token only. */
  readonly lastOnly: boolean;
}

/** What is the same for all layers in one call of a decoder. */
export interface Call {
  /** What a layer is told. */
  layerContext(layer: number, own: OwnContext): BlockContext;
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
  const { labels, training } = context;
  const all = { ids, mask: context.mask, labels };
  const route = routeContext(all);
  return {
    layerContext: (layer, { carry, selected, lastOnly }) => ({
      attention: {
        ...attention,
        lastOnly,
        rotary: rotary[layer] ?? lost("rotary table"),
        cache: cache?.layers[layer],
      },
      route: {
        ...(lastOnly ? routeContext(lastColumns(all)) : route),
        training,
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

/** Tokens `[B, T]` with what is known of each. */
interface Columns {
  readonly ids: Tensor;
  readonly mask: Tensor | undefined;
  readonly labels: Tensor | undefined;
}

function lastColumns({ ids, mask, labels }: Columns): Columns {
  return {
    ids: lastOf(ids, 1),
    mask: mask && lastOf(mask, 1),
    labels: labels && lastOf(labels, 1),
  };
}

/** What routers are told of tokens, which they know as one list. */
function routeContext({ ids, mask, labels }: Columns): MoeContext {
  const [batch = 0, tokens = 0] = ids.shape;
  const flat = [batch * tokens];
  return {
    sequences: Array.from({ length: batch + 1 }, (_, index) => index * tokens),
    mask: mask?.reshape(flat),
    tokenIds: ids.reshape(flat),
    labels: labels?.reshape(flat),
  };
}

function lost(what: string): never {
  throw new ConfigError(`a layer has no ${what}; give one for each layer`, "cache", undefined);
}
