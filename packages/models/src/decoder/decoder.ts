import {
  type Forward,
  type Leaf,
  type LossValue,
  type MapTree,
  type Module,
  type RandomKey,
  type Routing,
  type Shape,
  type Tensor,
  checkpoint,
  constantParameter,
  div,
  foldIn,
  isFloat,
} from "@moiety/core";
import { matrixParameter } from "@moiety/experts";
import { type Block, type BlockOutput, block, scaled } from "./block.ts";
import type { KeyValueCache } from "./cache.ts";
import { prepareCall } from "./call.ts";
import { checkCall, checkDecoder } from "./check.ts";
import type { DecoderConfig } from "./config.ts";
import { embed } from "./embedding.ts";
import { lastOf } from "./places.ts";
import { routingLoss } from "./losses.ts";
import { drawNorm, normShapes, normalize } from "./norm.ts";
import type { BlockParams, DecoderParams, DecoderState } from "./params.ts";
import { projection } from "./project.ts";

/** What a call of a decoder may be given beside its tokens. */
export interface DecoderContext {
  /**
   * `[B, T]` bool: false for padding, on either side. Nobody attends to it, and losses and loads
   * leave it out. What the model says at such a place means nothing.
   */
  readonly mask?: Tensor | undefined;
  /** `[B, T]` i32 labels such as the task, for routers whose coarse step goes by them. */
  readonly labels?: Tensor | undefined;
  /** Earlier keys and values; the result has them with the new ones. None unless given. */
  readonly cache?: KeyValueCache | undefined;
  /**
   * Tokens that the sequences will have when a prompt that comes in pieces is complete, for rotary
   * scalings that go by the length. Those so far unless given.
   */
  readonly length?: number | undefined;
  /** Whether this is a training step (noise, jitter). False unless given. */
  readonly training?: boolean | undefined;
  /** Key of this call's random numbers, for routers that draw some in training. */
  readonly key?: RandomKey | undefined;
  /**
   * For each layer with experts, the choices of an earlier run `[B · T, k]` i32, played back instead
   * of made: `selected` of its `routings`. `undefined` where a layer shall choose by itself.
   */
  readonly selected?: readonly (Tensor | undefined)[] | undefined;
  /** Runs every layer again in the backward instead of keeping its inside. False unless given. */
  readonly checkpoint?: boolean | undefined;
  /** Logits of the last token only: `[B, 1, V]`. False unless given. */
  readonly lastOnly?: boolean | undefined;
  /** Whether the losses are evaluated, which costs time that only training needs. True unless given. */
  readonly losses?: boolean | undefined;
  /**
   * Whether routings, and with them loads and losses, are given. True unless given. Where they are not
   * and `lastOnly` is, the last layer makes keys and values of all tokens, and goes on with the last.
   */
  readonly routed?: boolean | undefined;
}

/** What a decoder gives. */
export interface DecoderOutput {
  /** `[B, T, V]`. */
  readonly logits: Tensor;
  /** Of each layer with experts, in order; none if not asked for. */
  readonly routings: readonly Routing[];
  /** The configuration's losses over all routings together; none without experts or if not asked. */
  readonly losses: readonly LossValue[];
  /** `[E]` i32 assignments per expert of each layer with experts; padding left out. None if not asked. */
  readonly loads: readonly Tensor[];
  /** The cache after this call, where one was given. */
  readonly cache?: KeyValueCache | undefined;
}

/** A decoder-only language model: `ids [B, T]` i32 → logits. */
export interface DecoderModel extends Module<
  DecoderParams,
  DecoderState,
  [ids: Tensor, context?: DecoderContext],
  DecoderOutput
> {
  readonly config: DecoderConfig;
  /** The shape of every parameter. */
  readonly shapes: MapTree<DecoderParams, Shape>;
  /** The shape of every leaf of the state. */
  readonly stateShapes: MapTree<DecoderState, Shape>;
}

/**
 * Builds a decoder from data: embedding, layers, norm, output projection.
 * @throws ConfigError where the configuration makes no sense, naming the key
 *
 * @example
 * const model = decoder(config);
 * const { params, state } = model.init(randomKey(1), { backend });
 * const { logits } = apply(model, params, state, ids);
 */
export function decoder(config: DecoderConfig): DecoderModel {
  checkDecoder(config);
  const { hiddenSize, vocabSize, initializerRange, tieWordEmbeddings, headBias, format } = config;
  const blocks = config.layers.map((layer) => block(config, layer));
  const table = [vocabSize, hiddenSize];
  return {
    config,
    shapes: {
      embedding: table,
      layers: blocks.map((part) => part.shapes),
      ...normShapes(config, "norm"),
      ...(!tieWordEmbeddings && { head: table }),
      ...(headBias && { headBias: [vocabSize] }),
    },
    stateShapes: { layers: blocks.map((part) => part.stateShapes) },
    init(key, options) {
      const draw = (leaf: number): Leaf =>
        matrixParameter(foldIn(key, leaf), table, initializerRange, options, format);
      const embedding = draw(0);
      const layerKey = foldIn(key, 1);
      const parts = blocks.map((part, layer) => part.init(foldIn(layerKey, layer), options));
      return {
        params: {
          embedding,
          layers: parts.map(({ params }) => params),
          ...drawNorm(config, "norm", options),
          ...(!tieWordEmbeddings && { head: draw(2) }),
          ...(headBias && { headBias: constantParameter(0, [vocabSize], options) }),
        },
        state: { layers: parts.map(({ state }) => state) },
      };
    },
    forward: (params, state, ids, context = {}) =>
      forward(config, blocks, params, state, ids, context),
  };
}

function* forward(
  config: DecoderConfig,
  blocks: readonly Block[],
  params: DecoderParams,
  state: DecoderState,
  ids: Tensor,
  context: DecoderContext,
): Forward<DecoderOutput> {
  checkCall(config, params, ids, context);
  const { embedding, norm, head = embedding } = params;
  const dtype = isFloat(norm.dtype) ? norm.dtype : "f32";
  const call = prepareCall(config, ids, context, dtype);
  const outputs: BlockOutput[] = [];
  const routings: Routing[] = [];
  const { scales = {}, format } = config;
  let hidden = scaled(embed(embedding, ids, { dtype, format }), scales.embedding);
  let carry: Routing["carry"];
  for (const [layer, part] of blocks.entries()) {
    const input = hidden;
    const selected = context.selected?.[routings.length];
    const isLast = layer === blocks.length - 1;
    const alone = isLast && mayLeaveOut(context) && !part.acrossTokens && !carry && !selected;
    const inLayer = call.layerContext(layer, { carry, selected, lastOnly: alone });
    const run = (): Forward<BlockOutput> =>
      part.forward(params.layers[layer] as BlockParams, state.layers[layer] ?? {}, input, inLayer);
    const output = yield* context.checkpoint ? checkpoint(run) : run();
    hidden = output.hidden;
    carry = output.routing?.carry ?? carry;
    outputs.push(output);
    if (output.routing) routings.push(output.routing);
  }
  const wanted = context.lastOnly ? lastOf(hidden, 1) : hidden;
  const normed = normalize(config, wanted, norm, params.normBias);
  const cache = call.cacheAfter(outputs.map((output) => output.cache));
  const logits = projection(format)(normed, head, params.headBias);
  const rest = context.routed === false ? NOT_ASKED : told(config, routings, outputs, context);
  return {
    logits: scales.logits === undefined ? logits : div(logits, scales.logits),
    ...rest,
    ...(cache && { cache }),
  };
}

type Told = Pick<DecoderOutput, "routings" | "losses" | "loads">;

const NOT_ASKED: Told = { routings: [], losses: [], loads: [] };

/** What a call tells beside its logits. */
function told(
  config: DecoderConfig,
  routings: readonly Routing[],
  outputs: readonly BlockOutput[],
  context: DecoderContext,
): Told {
  return {
    routings,
    losses: context.losses === false || routings.length === 0 ? [] : evaluate(config, routings),
    loads: outputs.flatMap(({ load }) => load ?? []),
  };
}

/** Whether nobody sees what the last layer makes of tokens before the last. */
function mayLeaveOut({ lastOnly, routed, training }: DecoderContext): boolean {
  return lastOnly === true && routed === false && !training;
}

function evaluate({ losses }: DecoderConfig, routings: readonly Routing[]): LossValue[] {
  return losses.map(routingLoss).map(({ name, coefficient, evaluate: value }) => ({
    name,
    coefficient,
    value: value(routings),
  }));
}
