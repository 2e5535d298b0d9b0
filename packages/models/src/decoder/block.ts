import {
  ConfigError,
  type Forward,
  type InitOptions,
  type Initialized,
  type MapTree,
  type MoeContext,
  type RandomKey,
  type Routing,
  type Shape,
  type Tensor,
  add,
  foldIn,
  mul,
} from "@moiety/core";
import { denseFfn } from "@moiety/experts";
import { type AttentionContext, attend, attentionShapes, drawAttention } from "./attention.ts";
import type { LayerCache } from "./cache.ts";
import type { DecoderConfig, LayerConfig } from "./config.ts";
import { lastOf } from "./places.ts";
import { moePart } from "./moe-layer.ts";
import { drawNorm, normShapes, normalize } from "./norm.ts";
import type { BlockParams, BlockState } from "./params.ts";

/** What a layer is told of a call. */
export interface BlockContext {
  readonly attention: AttentionContext;
  readonly route: MoeContext;
}

/** What a layer gives. */
export interface BlockOutput {
  /** `[B, T, H]`; of the last token, `[B, 1, H]`, where only that was wanted. */
  readonly hidden: Tensor;
  /** Of layers with experts. */
  readonly routing?: Routing | undefined;
  /** `[E]` i32 assignments per expert, of layers with experts. */
  readonly load?: Tensor | undefined;
  readonly cache: LayerCache | undefined;
}

/**
 * One layer of a decoder: attention, then a dense network or experts, each with norm and residual.
 * The norm is of what goes in, or of what comes out.
 */
export interface Block {
  readonly shapes: MapTree<BlockParams, Shape>;
  readonly stateShapes: MapTree<BlockState, Shape>;
  /** Whether what becomes of a token depends on where others go. */
  readonly acrossTokens: boolean;
  init(key: RandomKey, options: InitOptions): Initialized<BlockParams, BlockState>;
  forward(
    params: BlockParams,
    state: BlockState,
    x: Tensor,
    context: BlockContext,
  ): Forward<BlockOutput>;
}

/** Builds one layer. @throws ConfigError where its parts do not fit */
export function block(config: DecoderConfig, layer: LayerConfig): Block {
  const { hiddenSize, initializerRange, scales = {}, format } = config;
  const common = { hiddenSize, initializerRange };
  const parts = layer.attention ?? config.attention;
  const dense = "dense" in layer ? denseFfn({ ...layer.dense, ...common, format }) : undefined;
  const sparse =
    "moe" in layer ? moePart(layer.moe, hiddenSize, initializerRange, format) : undefined;
  const isBefore = config.normPosition !== "after";
  const before = (x: Tensor, norm: Norm): Tensor => (isBefore ? norm(x) : x);
  const join = (stream: Tensor, added: Tensor, norm: Norm): Tensor =>
    add(stream, scaled(isBefore ? added : norm(added), scales.residual));
  return {
    shapes: {
      ...normShapes(config, "attentionNorm"),
      attention: attentionShapes(parts, hiddenSize),
      ...normShapes(config, "ffnNorm"),
      ...(dense && { dense: dense.shapes }),
      ...(sparse && { moe: sparse.shapes }),
    },
    stateShapes: sparse ? { moe: sparse.stateShapes } : {},
    acrossTokens: sparse?.router.acrossTokens ?? false,
    init(key, options) {
      const ffnKey = foldIn(key, 1);
      const experts = sparse?.layer.init(ffnKey, options);
      return {
        params: {
          ...drawNorm(config, "attentionNorm", options),
          attention: drawAttention(parts, config, foldIn(key, 0), options),
          ...drawNorm(config, "ffnNorm", options),
          ...(dense && { dense: dense.init(ffnKey, options).params }),
          ...(experts && { moe: experts.params }),
        },
        state: experts ? { moe: experts.state } : {},
      };
    },
    *forward(params, state, x, context): Forward<BlockOutput> {
      const { attentionNorm, attentionNormBias, ffnNorm, ffnNormBias } = params;
      const first: Norm = (of) => normalize(config, of, attentionNorm, attentionNormBias);
      const second: Norm = (of) => normalize(config, of, ffnNorm, ffnNormBias);
      const attended = attend(parts, config, params.attention, before(x, first), context.attention);
      const stream = context.attention.lastOnly ? lastOf(x, 1) : x;
      const middle = join(stream, attended.output, first);
      const input = before(middle, second);
      const { cache } = attended;
      if (dense) {
        const output = dense.forward(present(params.dense, "dense"), input);
        return { hidden: join(middle, output, second), cache };
      }
      const { output, routing, load } = yield* present(sparse, "moe").layer.forward(
        present(params.moe, "moe"),
        present(state.moe, "state.moe"),
        input,
        context.route,
      );
      return { hidden: join(middle, output, second), routing, load, cache };
    },
  };
}

type Norm = (x: Tensor) => Tensor;

/** A tensor times a factor, where there is one. */
export function scaled(x: Tensor, factor: number | undefined): Tensor {
  return factor === undefined || factor === 1 ? x : mul(x, factor);
}

function present<T>(part: T | undefined, key: string): T {
  if (part !== undefined) return part;
  throw new ConfigError(
    `this layer needs ${key}, which its parameters lack; use those of the same configuration`,
    key,
    part,
  );
}
