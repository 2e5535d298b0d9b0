import { ConfigError, type Tensor, broadcast, concat, rmsNorm, rope } from "@moiety/core";
import type { ShapesOf } from "@moiety/experts";
import type { AttentionSizes } from "./attention.ts";
import type { LatentAttentionConfig } from "./attention-config.ts";
import type { HeadInput, Heads } from "./grouped-attention.ts";
import type { LatentAttentionParams } from "./params.ts";
import { placesOf } from "./places.ts";
import { type Project, projection } from "./project.ts";
import type { Rotary } from "./rotary.ts";

/** Shapes of the weights of latent attention, without those that all kinds have. */
export function latentShapes(
  parts: LatentAttentionConfig,
  hiddenSize: number,
): ShapesOf<LatentAttentionParams> {
  const { numAttentionHeads: heads, qLoraRank, kvLoraRank, latentBias } = parts;
  const { qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = parts;
  const queries = heads * (qkNopeHeadDim + qkRopeHeadDim);
  const shared = kvLoraRank + qkRopeHeadDim;
  return {
    ...(qLoraRank === undefined
      ? { query: [queries, hiddenSize] }
      : {
          queryA: [qLoraRank, hiddenSize],
          ...(latentBias && { queryABias: [qLoraRank] }),
          queryANorm: [qLoraRank],
          queryB: [queries, qLoraRank],
        }),
    keyValueA: [shared, hiddenSize],
    ...(latentBias && { keyValueABias: [shared] }),
    keyValueANorm: [kvLoraRank],
    keyValueB: [heads * (qkNopeHeadDim + vHeadDim), kvLoraRank],
    output: [hiddenSize, heads * vHeadDim],
  };
}

/**
 * Queries of the tokens that ask, keys and values of all, expanded out of the latent for every head.
 * In queries and keys the part that is rotated comes last.
 */
export function latentHeads(
  parts: LatentAttentionConfig,
  { format }: AttentionSizes,
  params: LatentAttentionParams,
  { x, rotary }: HeadInput,
  asking: HeadInput,
): Heads {
  const { numAttentionHeads: heads, kvLoraRank, latentNormEps: epsilon } = parts;
  const { qkNopeHeadDim: plain, qkRopeHeadDim: rotated, vHeadDim } = parts;
  const [batch = 0, tokens = 0] = x.shape;
  const attributes = { ...(parts.ropeInterleaved && { interleaved: true }) };
  const turn = (part: Tensor, { cos, sin }: Rotary): Tensor => rope(part, cos, sin, attributes);
  const project = projection(format);
  const queries = queriesOf(project, params, asking.x, epsilon).reshape([
    ...asking.x.shape.slice(0, 2),
    heads,
    plain + rotated,
  ]);
  const compressed = project(x, params.keyValueA, params.keyValueABias);
  const latent = rmsNorm(columns(compressed, 0, kvLoraRank), params.keyValueANorm, { epsilon });
  const shared = turn(
    columns(compressed, kvLoraRank, rotated).reshape([batch, tokens, 1, rotated]),
    rotary,
  );
  const expanded = project(latent, params.keyValueB).reshape([
    batch,
    tokens,
    heads,
    plain + vHeadDim,
  ]);
  const ofAllHeads = broadcast(shared, { shape: [batch, tokens, heads, rotated] });
  return {
    query: beside(
      columns(queries, 0, plain),
      turn(columns(queries, plain, rotated), asking.rotary),
    ),
    key: beside(columns(expanded, 0, plain), ofAllHeads),
    value: columns(expanded, plain, vHeadDim),
  };
}

function queriesOf(
  project: Project,
  { query, queryA, queryABias, queryANorm, queryB }: LatentAttentionParams,
  x: Tensor,
  epsilon: number,
): Tensor {
  if (query) return project(x, query);
  if (queryA && queryANorm && queryB) {
    return project(rmsNorm(project(x, queryA, queryABias), queryANorm, { epsilon }), queryB);
  }
  throw new ConfigError(
    "latent attention needs query, or queryA with queryANorm and queryB, which its parameters lack",
    "attention.query",
    undefined,
  );
}

/** Some of the last axis. */
function columns(x: Tensor, start: number, count: number): Tensor {
  return placesOf(x, x.rank - 1, start, count);
}

function beside(left: Tensor, right: Tensor): Tensor {
  return concat(left, right, { axis: left.rank - 1 });
}
