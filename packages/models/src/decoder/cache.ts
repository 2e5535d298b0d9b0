import {
  type Backend,
  ConfigError,
  type FloatDType,
  type Tensor,
  donate,
  zeros,
} from "@moiety/core";
import { headSizes } from "./attention.ts";
import type { DecoderConfig, LayerConfig } from "./config.ts";

/** Keys and values of one layer, `[B, capacity, key heads, width]`, each of its own width. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Keys and values of the tokens so far. Capacity is fixed, the length a number, so that every step
 * runs the same kernels.
 */
export interface KeyValueCache {
  /** Tokens so far. */
  readonly length: number;
  /** The most tokens that fit. */
  readonly capacity: number;
  /** Length for which its keys were turned, where scalings go by it. `length` unless given. */
  readonly turnedFor?: number | undefined;
  readonly layers: readonly LayerCache[];
  /** `[B, capacity]` bool: false where padding stands. Only of caches made with `masked`. */
  readonly mask?: Tensor | undefined;
}

/** Options of {@link emptyCache}. */
export interface CacheOptions {
  readonly backend: Backend;
  /** The most tokens of a sequence that fit. */
  readonly capacity: number;
  /** Number of sequences B. 1 unless given. */
  readonly batch?: number | undefined;
  /** Dtype of the parameters. `f32` unless given. */
  readonly dtype?: FloatDType | undefined;
  /** Whether calls give a padding mask. False unless given. */
  readonly masked?: boolean | undefined;
}

/** Makes a cache without tokens. @throws ConfigError for sizes that make no sense */
export function emptyCache(config: DecoderConfig, options: CacheOptions): KeyValueCache {
  const { backend, capacity, batch = 1, dtype = "f32", masked = false } = options;
  for (const [key, size] of Object.entries({ capacity, batch })) {
    if (Number.isInteger(size) && size >= 1) continue;
    throw new ConfigError(`${key} is ${size}, but must be a whole number from 1`, key, size);
  }
  const empty = (layer: LayerConfig): LayerCache => {
    const { heads, keyWidth, valueWidth } = headSizes(layer.attention ?? config.attention);
    const places = (width: number): Tensor =>
      zeros(backend, [batch, capacity, heads, width], dtype);
    return { keys: places(keyWidth), values: places(valueWidth) };
  };
  return {
    length: 0,
    capacity,
    layers: config.layers.map(empty),
    ...(masked && { mask: zeros(backend, [batch, capacity], "bool") }),
  };
}

/** Lets the next call write into the cache's own buffers. The cache given is dead afterwards. */
export function donateCache(cache: KeyValueCache): KeyValueCache {
  return {
    ...cache,
    layers: cache.layers.map(({ keys, values }) => ({
      keys: donate(keys),
      values: donate(values),
    })),
    ...(cache.mask && { mask: donate(cache.mask) }),
  };
}

/** Frees a cache. */
export function disposeCache(cache: KeyValueCache): void {
  for (const { keys, values } of cache.layers) {
    keys.dispose();
    values.dispose();
  }
  cache.mask?.dispose();
}
