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

/**
 * Counts an OLMoE-shaped model from its settings.
 *
 * @param sequenceLength tokens of a sequence, on which the cost of attention depends.
 */
export function modelSize(model: ModelSettings, sequenceLength: number): ModelSize {
  const { hiddenSize, numHiddenLayers, numExperts, numExpertsPerTok, vocabSize } = model;
  const keyValueSize = (hiddenSize / model.numAttentionHeads) * model.numKeyValueHeads;
  const attention = 2 * hiddenSize * hiddenSize + 2 * hiddenSize * keyValueSize;
  const norms = 3 * hiddenSize + keyValueSize;
  const router = hiddenSize * numExperts;
  const expert = 3 * hiddenSize * model.intermediateSize;
  const embedding = vocabSize * hiddenSize;
  const head = model.tieWordEmbeddings ? 0 : embedding;

  const shared = embedding + head + hiddenSize + numHiddenLayers * (attention + norms + router);
  const parameters = shared + numHiddenLayers * numExperts * expert;
  const activeParameters = shared + numHiddenLayers * numExpertsPerTok * expert;

  const scoresAndValues = 2 * hiddenSize * ((sequenceLength + 1) / 2);
  const layer = attention + scoresAndValues + router + numExpertsPerTok * expert;
  const flopsPerToken = 2 * (numHiddenLayers * layer + embedding);
  return { parameters, activeParameters, flopsPerToken };
}
