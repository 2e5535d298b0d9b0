import { type Leaf, type Shape, type Tensor, maximum, minimum, rmsNorm, rope } from "@moiety/core";
import type { ShapesOf } from "@moiety/experts";
import type { AttentionSizes } from "./attention.ts";
import type { GroupedAttentionConfig } from "./attention-config.ts";
import type { GroupedAttentionParams } from "./params.ts";
import { projection } from "./project.ts";
import type { Rotary } from "./rotary.ts";

/** Tokens `[B, T, H]`, and how heads are turned at their places. */
export interface HeadInput {
  readonly x: Tensor;
  readonly rotary: Rotary;
}

/** What attention compares and mixes, each `[B, T, heads, width]`. */
export interface Heads {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
}

/** Shapes of the weights of grouped queries, without those that all kinds have. */
export function groupedShapes(
  parts: GroupedAttentionConfig,
  hiddenSize: number,
): ShapesOf<GroupedAttentionParams> {
  const queries = parts.numAttentionHeads * parts.headDim;
  const keys = parts.numKeyValueHeads * parts.headDim;
  const norm = (width: number): Shape => [parts.headNorm === "head" ? parts.headDim : width];
  return {
    query: [queries, hiddenSize],
    key: [keys, hiddenSize],
    value: [keys, hiddenSize],
    output: [hiddenSize, queries],
    ...(parts.qkvBias && { queryBias: [queries], keyBias: [keys], valueBias: [keys] }),
    ...(parts.headNorm !== "none" && { queryNorm: norm(queries), keyNorm: norm(keys) }),
  };
}

/** Queries of the tokens that ask, keys and values of all: project, norm, clip, rotate. */
export function groupedHeads(
  parts: GroupedAttentionConfig,
  { rmsNormEps: epsilon, format }: AttentionSizes,
  params: GroupedAttentionParams,
  all: HeadInput,
  asking: HeadInput,
): Heads {
  const { headDim, headNorm, normAfterRope, ropeInterleaved: interleaved } = parts;
  const split = (projected: Tensor): Tensor =>
    clamp(projected, parts.clip).reshape([...projected.shape.slice(0, 2), -1, headDim]);
  const project = projection(format);
  const placed = (
    { x, rotary: { cos, sin } }: HeadInput,
    weight: Leaf,
    bias: Tensor | undefined,
    norm: Tensor | undefined,
  ): Tensor => {
    const turn = (heads: Tensor): Tensor =>
      rope(heads, cos, sin, { ...(interleaved && { interleaved }) });
    const projected = project(x, weight, bias);
    if (!norm) return turn(split(projected));
    if (headNorm === "projection") return turn(split(rmsNorm(projected, norm, { epsilon })));
    const heads = split(projected);
    return normAfterRope
      ? rmsNorm(turn(heads), norm, { epsilon })
      : turn(rmsNorm(heads, norm, { epsilon }));
  };
  return {
    query: placed(asking, params.query, params.queryBias, params.queryNorm),
    key: placed(all, params.key, params.keyBias, params.keyNorm),
    value: split(project(all.x, params.value, params.valueBias)),
  };
}

function clamp(x: Tensor, limit: number | undefined): Tensor {
  return limit === undefined ? x : minimum(maximum(x, -limit), limit);
}
