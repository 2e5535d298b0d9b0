import {
  ConfigError,
  DTypeError,
  ShapeError,
  type Tensor,
  UnsupportedError,
  formatShape,
  isTensor,
} from "@moiety/core";
import type { AttentionConfig } from "./attention-config.ts";
import { type Refuse, checkAttention, requireCounts } from "./check-attention.ts";
import type { DecoderConfig } from "./config.ts";
import type { DecoderContext } from "./decoder.ts";
import type { DecoderParams } from "./params.ts";

/** Throws {@link ConfigError} for a configuration that makes no sense, naming the key. */
export function checkDecoder(config: DecoderConfig): void {
  const { attention, layers } = config;
  const refuse: Refuse = (key, value, wanted) => {
    throw new ConfigError(`decoder: ${key} is ${String(value)}, but must be ${wanted}`, key, value);
  };
  requireCounts({ vocabSize: config.vocabSize, hiddenSize: config.hiddenSize }, refuse);
  const own = layers.flatMap((layer) => layer.attention ?? []);
  for (const each of new Set([attention, ...own])) checkAttention(each, refuse);
  for (const [key, value] of Object.entries(config.scales ?? {})) {
    if (!(value > 0)) refuse(`scales.${key}`, value, "above 0");
  }
  if (!(config.rmsNormEps >= 0)) refuse("rmsNormEps", config.rmsNormEps, "at least 0");
  if (!(config.initializerRange >= 0)) {
    refuse("initializerRange", config.initializerRange, "at least 0");
  }
  const { norm = "rms", normPosition = "before" } = config;
  if (!["rms", "layer"].includes(norm)) refuse("norm", norm, "rms or layer");
  if (!["before", "after"].includes(normPosition)) {
    refuse("normPosition", normPosition, "before or after");
  }
  if (layers.length === 0) refuse("layers", "empty", "at least one layer");
}

/** Throws a named error for a call whose tokens and context do not fit together. */
export function checkCall(
  config: DecoderConfig,
  params: DecoderParams,
  ids: Tensor,
  context: DecoderContext,
): void {
  if (!isTensor(ids) || ids.rank !== 2) {
    const given = isTensor(ids) ? formatShape(ids.shape) : String(ids);
    throw new ShapeError(`ids are ${given}, but must be a tensor [B, T]`);
  }
  if (ids.dtype !== "i32") throw new DTypeError(`ids are ${ids.dtype}, but must be i32`);
  const layers = config.layers.length;
  if (params.layers.length !== layers) {
    throw new ConfigError(
      `the model has ${layers} layers, but its parameters ${params.layers.length}`,
      "params.layers",
      params.layers.length,
    );
  }
  const attentions = config.layers.map((layer) => layer.attention ?? config.attention);
  for (const { dropout } of context.training ? attentions : []) {
    if (dropout === 0) continue;
    throw new UnsupportedError(
      `attention dropout ${dropout} is not built; train with 0`,
      "attention dropout",
    );
  }
  checkLabels(ids, context);
  checkMask(ids, context);
  checkCache(ids, context, layers);
  for (const attention of attentions) checkStretch(attention, ids, context);
}

/** Cached keys were turned by the factors of short sequences, which longer ones do not share. */
function checkStretch(
  { ropeScaling }: AttentionConfig,
  ids: Tensor,
  { cache, length = 0 }: DecoderContext,
): void {
  if (ropeScaling?.kind !== "longrope" || cache === undefined || cache.length === 0) return;
  const { originalMaxPositionEmbeddings: limit } = ropeScaling;
  const before = cache.turnedFor ?? cache.length;
  const after = Math.max(length, cache.length + (ids.shape[1] ?? 0));
  if (before > limit || after <= limit) return;
  throw new UnsupportedError(
    `the sequence grows beyond ${limit} tokens, from which on LongRoPE turns all keys otherwise; ` +
      "start it anew with an empty cache and all its tokens, in one call or with their length",
    "LongRoPE beyond its original length with a cache of short factors",
  );
}

function checkLabels(ids: Tensor, { labels }: DecoderContext): void {
  if (labels === undefined) return;
  if (!isTensor(labels) || labels.dtype !== "i32") {
    throw new DTypeError("context.labels must be an i32 tensor: a label for each token");
  }
  if (labels.shape.join() === ids.shape.join()) return;
  throw new ShapeError(
    `context.labels are ${formatShape(labels.shape)}, but the ids are ${formatShape(ids.shape)}`,
    { shapes: [labels.shape, ids.shape] },
  );
}

function checkMask(ids: Tensor, { mask }: DecoderContext): void {
  if (mask === undefined) return;
  if (!isTensor(mask) || mask.dtype !== "bool") {
    throw new DTypeError("context.mask must be a bool tensor: true for tokens, false for padding");
  }
  if (mask.shape.join() !== ids.shape.join()) {
    throw new ShapeError(
      `context.mask is ${formatShape(mask.shape)}, but the ids are ${formatShape(ids.shape)}`,
      { shapes: [mask.shape, ids.shape] },
    );
  }
}

function checkCache(ids: Tensor, { cache, mask }: DecoderContext, layers: number): void {
  if (cache === undefined) return;
  const [batch = 0, tokens = 0] = ids.shape;
  const { length, capacity } = cache;
  if (length + tokens > capacity) {
    throw new ShapeError(
      `the cache holds ${capacity} tokens and has ${length}; ${tokens} more do not fit; ` +
        "make it with a larger capacity",
      { shapes: [ids.shape] },
    );
  }
  const rows = cache.layers[0]?.keys.shape[0];
  if (cache.layers.length !== layers || rows !== batch) {
    throw new ConfigError(
      `the cache is for ${cache.layers.length} layers and ${rows} sequences, ` +
        `but the call has ${layers} and ${batch}`,
      "context.cache",
      cache.layers.length,
    );
  }
  if (mask && !cache.mask) {
    throw new ConfigError(
      "a call with a mask needs a cache that keeps one; make it with masked: true",
      "context.cache",
      undefined,
    );
  }
}
