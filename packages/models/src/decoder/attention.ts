import {
  type InitOptions,
  type RandomKey,
  type Shape,
  type Tensor,
  add,
  attention,
  constantParameter,
  foldIn,
  matmul,
  maximum,
  minimum,
  normalParameter,
  rmsNorm,
  rope,
  writeSlice,
} from "@moiety/core";
import type { ShapesOf } from "@moiety/experts";
import type { LayerCache } from "./cache.ts";
import type { DecoderConfig } from "./config.ts";
import type { AttentionParams } from "./params.ts";

/** What self-attention needs to know of a call. */
export interface AttentionContext {
  /** `[T, D/2]` cosines and sines of the tokens' positions. */
  readonly rotary: { readonly cos: Tensor; readonly sin: Tensor };
  /** Place of the first token among the keys. */
  readonly position: number;
  /** `[B, keys]` bool: false for padding. */
  readonly mask?: Tensor | undefined;
  /** Earlier keys and values, which the new ones are written behind. */
  readonly cache?: LayerCache | undefined;
}

/** What self-attention gives. */
export interface AttentionResult {
  /** `[B, T, H]`. */
  readonly output: Tensor;
  /** The cache with the new keys and values in it, where one was given. */
  readonly cache: LayerCache | undefined;
}

/** Shapes of the weights of self-attention. */
export function attentionShapes(config: DecoderConfig): ShapesOf<AttentionParams> {
  const { hiddenSize, attention: parts } = config;
  const queries = parts.numAttentionHeads * parts.headDim;
  const keys = parts.numKeyValueHeads * parts.headDim;
  const norm = (width: number): Shape => [parts.headNorm === "head" ? parts.headDim : width];
  return {
    query: [queries, hiddenSize],
    key: [keys, hiddenSize],
    value: [keys, hiddenSize],
    output: [hiddenSize, queries],
    ...(parts.qkvBias && { queryBias: [queries], keyBias: [keys], valueBias: [keys] }),
    ...(parts.outputBias && { outputBias: [hiddenSize] }),
    ...(parts.headNorm !== "none" && { queryNorm: norm(queries), keyNorm: norm(keys) }),
  };
}

/** Draws weights: matrices from `foldIn(key, n)`, norms one, biases zero. */
export function drawAttention(
  config: DecoderConfig,
  key: RandomKey,
  options: InitOptions,
): AttentionParams {
  const shapes = attentionShapes(config);
  const draw = (leaf: number, shape: Shape): Tensor =>
    normalParameter(foldIn(key, leaf), shape, config.initializerRange, options);
  const constant = (value: number, shape: Shape | undefined): Tensor | undefined =>
    shape && constantParameter(value, shape, options);
  return {
    query: draw(0, shapes.query),
    key: draw(1, shapes.key),
    value: draw(2, shapes.value),
    output: draw(3, shapes.output),
    ...(shapes.queryBias && {
      queryBias: constant(0, shapes.queryBias),
      keyBias: constant(0, shapes.keyBias),
      valueBias: constant(0, shapes.valueBias),
    }),
    ...(shapes.outputBias && { outputBias: constant(0, shapes.outputBias) }),
    ...(shapes.queryNorm && {
      queryNorm: constant(1, shapes.queryNorm),
      keyNorm: constant(1, shapes.keyNorm),
    }),
  };
}

/** Causal self-attention on `x [B, T, H]`: project, norm, clip, rotate, attend, project. */
export function attend(
  config: DecoderConfig,
  params: AttentionParams,
  x: Tensor,
  context: AttentionContext,
): AttentionResult {
  const { attention: parts, rmsNormEps: epsilon } = config;
  const [batch = 0, tokens = 0] = x.shape;
  const heads = (weight: Tensor, bias: Tensor | undefined, norm: Tensor | undefined): Tensor => {
    const projected = project(x, weight, bias);
    const whole =
      norm && parts.headNorm === "projection" ? rmsNorm(projected, norm, { epsilon }) : projected;
    const split = clamp(whole, parts.clip).reshape([batch, tokens, -1, parts.headDim]);
    return norm && parts.headNorm === "head" ? rmsNorm(split, norm, { epsilon }) : split;
  };
  const turn = (values: Tensor): Tensor => rope(values, context.rotary.cos, context.rotary.sin);
  const query = turn(heads(params.query, params.queryBias, params.queryNorm));
  const key = turn(heads(params.key, params.keyBias, params.keyNorm));
  const value = heads(params.value, params.valueBias, undefined);
  const starts = [0, context.position, 0, 0];
  const cache = context.cache && {
    keys: writeSlice(context.cache.keys, key, { starts }),
    values: writeSlice(context.cache.values, value, { starts }),
  };
  const attended = attention(query, cache?.keys ?? key, cache?.values ?? value, context.mask, {
    causal: true,
    scale: parts.scale ?? parts.headDim ** -0.5,
    position: context.position,
  }).reshape([batch, tokens, parts.numAttentionHeads * parts.headDim]);
  return { output: project(attended, params.output, params.outputBias), cache };
}

function project(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const y = matmul(x, weight, { transposeB: true });
  return bias ? add(y, bias) : y;
}

function clamp(x: Tensor, limit: number | undefined): Tensor {
  return limit === undefined ? x : minimum(maximum(x, -limit), limit);
}
