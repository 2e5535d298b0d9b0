import type { Shape } from "@moiety/core";
import { type DecoderModel, shapesByPath } from "@moiety/models";
import type { ModelSettings } from "./presets.ts";

/** What a model weighs and costs. */
export interface ModelSize {
  /** All trained numbers; a tied embedding counts once. */
  readonly parameters: number;
  /** Those that one token meets: its experts, and everything that is not an expert. */
  readonly activeParameters: number;
  /**
   * Floating-point operations of a forward pass for one token, two for each multiply-add of a
   * matrix product, averaged over the places of a sequence; training costs about three times this.
   */
  readonly flopsPerToken: number;
}

/** What the router of one layer weighs and costs. */
export interface RouterSize {
  /** Its trained numbers. */
  readonly parameters: number;
  /** Those in matrices that a token is multiplied with; tables are looked up. */
  readonly multiplied: number;
}

/** The size of a layer's router, from the shapes of its leaves. */
export function routerSize(model: DecoderModel): RouterSize {
  const leaves = [...shapesByPath({ router: model.shapes.layers[0]?.moe?.router })];
  const numbers = (shape: Shape): number => shape.reduce((product, length) => product * length, 1);
  const sum = (found: readonly (readonly [string, Shape])[]): number =>
    found.reduce((total, [, shape]) => total + numbers(shape), 0);
  const isMatrix = ([path, shape]: readonly [string, Shape]): boolean =>
    shape.length > 1 && !path.endsWith(".table");
  return { parameters: sum(leaves), multiplied: sum(leaves.filter(isMatrix)) };
}

/**
 * Counts an OLMoE-shaped model from its settings.
 *
 * @param sequenceLength tokens of a sequence, on which the cost of attention depends.
 * @param router of each layer; OLMoE's own, one row for each expert, unless given.
 */
export function modelSize(
  model: ModelSettings,
  sequenceLength: number,
  router: RouterSize = linearRouterSize(model),
): ModelSize {
  const { hiddenSize, numHiddenLayers, numExperts, numExpertsPerTok, vocabSize } = model;
  const keyValueSize = (hiddenSize / model.numAttentionHeads) * model.numKeyValueHeads;
  const attention = 2 * hiddenSize * hiddenSize + 2 * hiddenSize * keyValueSize;
  const norms = 3 * hiddenSize + keyValueSize;
  const expert = 3 * hiddenSize * model.intermediateSize;
  const embedding = vocabSize * hiddenSize;
  const head = model.tieWordEmbeddings ? 0 : embedding;

  const layerParameters = attention + norms + router.parameters;
  const shared = embedding + head + hiddenSize + numHiddenLayers * layerParameters;
  const parameters = shared + numHiddenLayers * numExperts * expert;
  const activeParameters = shared + numHiddenLayers * numExpertsPerTok * expert;

  const scoresAndValues = 2 * hiddenSize * ((sequenceLength + 1) / 2);
  const layer = attention + scoresAndValues + router.multiplied + numExpertsPerTok * expert;
  const flopsPerToken = 2 * (numHiddenLayers * layer + embedding);
  return { parameters, activeParameters, flopsPerToken };
}

function linearRouterSize({ hiddenSize, numExperts }: ModelSettings): RouterSize {
  const parameters = hiddenSize * numExperts;
  return { parameters, multiplied: parameters };
}
