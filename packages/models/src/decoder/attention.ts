import {
  type InitOptions,
  type Leaf,
  type RandomKey,
  type Shape,
  type Tensor,
  attention,
  constantParameter,
  foldIn,
  normalParameter,
  writeSlice,
} from "@moiety/core";
import { type ShapesOf, matrixParameter } from "@moiety/experts";
import type { AttentionConfig } from "./attention-config.ts";
import type { LayerCache } from "./cache.ts";
import type { DecoderConfig } from "./config.ts";
import { type HeadInput, type Heads, groupedHeads, groupedShapes } from "./grouped-attention.ts";
import { lastOf } from "./places.ts";
import { latentHeads, latentShapes } from "./latent-attention.ts";
import type { AttentionParams, GroupedAttentionParams, LatentAttentionParams } from "./params.ts";
import { projection } from "./project.ts";
import type { Rotary } from "./rotary.ts";

/** What self-attention needs to know of a call. */
export interface AttentionContext {
  readonly rotary: Rotary;
  /** Place of the first token among the keys. */
  readonly position: number;
  /** `[B, keys]` bool: false for padding. */
  readonly mask?: Tensor | undefined;
  /** Earlier keys and values, which the new ones are written behind. */
  readonly cache?: LayerCache | undefined;
  /** Whether only the last token asks. False unless given. */
  readonly lastOnly?: boolean | undefined;
}

/** What self-attention gives. */
export interface AttentionResult {
  /** `[B, T, H]`; where only the last token asks, `[B, 1, H]`. */
  readonly output: Tensor;
  /** The cache with the new keys and values in it, where one was given. */
  readonly cache: LayerCache | undefined;
}

/** What shapes and sizes of attention depend on beside its own configuration. */
export type AttentionSizes = Pick<
  DecoderConfig,
  "format" | "hiddenSize" | "initializerRange" | "rmsNormEps"
>;

/** What a query is compared with, and what comes of it, by kind. */
export interface HeadSizes {
  /** Heads of keys and values. */
  readonly heads: number;
  /** Width of a query or key. */
  readonly keyWidth: number;
  /** Width of a value. */
  readonly valueWidth: number;
}

/** Sizes of the keys and values that a kind of attention keeps. */
export function headSizes(parts: AttentionConfig): HeadSizes {
  if (parts.kind !== "latent") {
    const { numKeyValueHeads: heads, headDim } = parts;
    return { heads, keyWidth: headDim, valueWidth: headDim };
  }
  return {
    heads: parts.numAttentionHeads,
    keyWidth: parts.qkNopeHeadDim + parts.qkRopeHeadDim,
    valueWidth: parts.vHeadDim,
  };
}

/** Shapes of the weights of self-attention. */
export function attentionShapes(
  parts: AttentionConfig,
  hiddenSize: number,
): ShapesOf<AttentionParams> {
  return {
    ...(parts.kind === "latent"
      ? latentShapes(parts, hiddenSize)
      : groupedShapes(parts, hiddenSize)),
    ...(parts.outputBias && { outputBias: [hiddenSize] }),
    ...(parts.sinks && { sinks: [parts.numAttentionHeads] }),
  };
}

/** Draws weights: matrices and sinks from `foldIn(key, n)` in order, norms one, biases zero. */
export function drawAttention(
  parts: AttentionConfig,
  { hiddenSize, initializerRange, format }: AttentionSizes,
  key: RandomKey,
  options: InitOptions,
): AttentionParams {
  let drawn = 0;
  const draw = (name: string, shape: Shape): Leaf => {
    if (name.endsWith("Bias")) return constantParameter(0, shape, options);
    if (name.endsWith("Norm")) return constantParameter(1, shape, options);
    const own = foldIn(key, drawn++);
    return shape.length === 2
      ? matrixParameter(own, shape, initializerRange, options, format)
      : normalParameter(own, shape, initializerRange, options);
  };
  const shapes = Object.entries(attentionShapes(parts, hiddenSize)) as [string, Shape][];
  const leaves = shapes.map(([name, shape]) => [name, draw(name, shape)]);
  return Object.fromEntries(leaves) as AttentionParams;
}

/** Causal self-attention on `x [B, T, H]`: queries, keys and values of a kind, attend, project. */
export function attend(
  parts: AttentionConfig,
  sizes: AttentionSizes,
  params: AttentionParams,
  x: Tensor,
  context: AttentionContext,
): AttentionResult {
  const [batch = 0, tokens = 0] = x.shape;
  const { position, mask, rotary, lastOnly } = context;
  const all = { x, rotary };
  const asking = lastOnly ? lastInput(all) : all;
  const { query, key, value } = headsOf(parts, sizes, params, all, asking);
  const [, queries = 0] = query.shape;
  const starts = [0, position, 0, 0];
  const cache = context.cache && {
    keys: writeSlice(context.cache.keys, key, { starts }),
    values: writeSlice(context.cache.values, value, { starts }),
  };
  const { keyWidth, valueWidth } = headSizes(parts);
  const { scale = keyWidth ** -0.5, window } = parts;
  const attended = attention(
    query,
    cache?.keys ?? key,
    cache?.values ?? value,
    mask,
    params.sinks,
    {
      causal: true,
      scale,
      position: position + tokens - queries,
      ...(window !== undefined && { window }),
    },
  ).reshape([batch, queries, parts.numAttentionHeads * valueWidth]);
  const project = projection(sizes.format);
  return { output: project(attended, params.output, params.outputBias), cache };
}

function headsOf(
  parts: AttentionConfig,
  sizes: AttentionSizes,
  params: AttentionParams,
  all: HeadInput,
  asking: HeadInput,
): Heads {
  // The parameters come from the same configuration, whose shapes they have.
  if (parts.kind === "latent") {
    return latentHeads(parts, sizes, params as LatentAttentionParams, all, asking);
  }
  return groupedHeads(parts, sizes, params as GroupedAttentionParams, all, asking);
}

function lastInput({ x, rotary: { cos, sin } }: HeadInput): HeadInput {
  return { x: lastOf(x, 1), rotary: { cos: lastOf(cos, 0), sin: lastOf(sin, 0) } };
}
