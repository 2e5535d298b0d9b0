/** Sizes of one language model, in the keys of Hugging Face's OLMoE configuration. */
export interface ModelSettings {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  /** Width of one expert. */
  readonly intermediateSize: number;
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  /** Whether weights are divided by their sum; read only where OLMoE's own router routes. */
  readonly normTopkProb: boolean;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly tieWordEmbeddings: boolean;
  /** Standard deviation of every initial matrix. */
  readonly initializerRange: number;
  /** Weight of the balance's loss; read only where it is one. */
  readonly routerAuxLossCoef: number;
  /** Step of the selection bias; read only where the balance moves it by its sign. */
  readonly biasUpdateRate: number;
}

/** How a model is trained. */
export interface TrainingSettings {
  /** Sequences in a batch. */
  readonly batchSize: number;
  /** Predictions in a sequence; a window of text is one byte longer. */
  readonly sequenceLength: number;
  readonly peakLearningRate: number;
  readonly warmupSteps: number;
  /** Where the cosine ends, as a fraction of the peak. */
  readonly finalLearningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest norm of the whole gradient. */
  readonly clipNorm: number;
}

/** How the models are compared. */
export interface EvaluationSettings {
  /** Held-out windows over all domains; each domain gives equally many, so it may be a few more. */
  readonly windows: number;
  /** Evaluations over the run, the last one included. */
  readonly evaluations: number;
  /** The share of each domain's windows that an evaluation before the last one uses. */
  readonly partOfWindows: number;
}

/** A named choice of sizes. `steps` and `minutes` hold when the command line gives neither. */
export interface Preset {
  readonly description: string;
  readonly model: ModelSettings;
  readonly training: TrainingSettings;
  readonly evaluation: EvaluationSettings;
  readonly steps: number | null;
  readonly minutes: number | null;
}

/** The names of the presets. */
export type PresetName = "anchor" | "small";

const anchorModel: ModelSettings = {
  vocabSize: 256,
  hiddenSize: 96,
  numHiddenLayers: 3,
  numAttentionHeads: 4,
  numKeyValueHeads: 4,
  intermediateSize: 128,
  numExperts: 16,
  numExpertsPerTok: 2,
  normTopkProb: true,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  tieWordEmbeddings: true,
  initializerRange: 0.02,
  routerAuxLossCoef: 0.01,
  biasUpdateRate: 0.001,
};

const anchorTraining: TrainingSettings = {
  batchSize: 16,
  sequenceLength: 128,
  peakLearningRate: 3e-3,
  warmupSteps: 20,
  finalLearningRate: 0.1,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clipNorm: 1,
};

/** The presets: data, nothing more. */
export const presets: Readonly<Record<PresetName, Preset>> = {
  anchor: {
    description: "the sizes that were measured with PyTorch: 3 layers, 16 experts, 1200 steps",
    model: anchorModel,
    training: anchorTraining,
    evaluation: { windows: 320, evaluations: 6, partOfWindows: 0.25 },
    steps: 1200,
    minutes: null,
  },
  small: {
    description: "2 layers, 8 experts: three minutes on the reference backend",
    model: {
      ...anchorModel,
      hiddenSize: 48,
      numHiddenLayers: 2,
      intermediateSize: 64,
      numExperts: 8,
    },
    training: { ...anchorTraining, batchSize: 8, sequenceLength: 64 },
    evaluation: { windows: 224, evaluations: 6, partOfWindows: 0.25 },
    steps: null,
    minutes: 3,
  },
};

/**
 * The dense partner of a sparse model: one expert, as wide as all that a token meets in the sparse
 * one, so both use equally many expert parameters for each token.
 */
export function denseModel(sparse: ModelSettings): ModelSettings {
  return {
    ...sparse,
    numExperts: 1,
    numExpertsPerTok: 1,
    intermediateSize: sparse.intermediateSize * sparse.numExpertsPerTok,
  };
}
