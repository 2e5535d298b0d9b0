import { modelSize } from "../size.ts";
import { denseModel, presets } from "../presets.ts";
import type { Balance } from "../presets.ts";
import type { ExperimentResult, ModelName, ModelResult, StepRecord } from "../result.ts";
import type { Settings } from "../settings.ts";

/** What a made-up run is to look like. */
export interface SyntheticChoice {
  readonly steps?: number;
  readonly balance?: Balance;
  /** What the sparse model has less than the dense one, bits/byte. */
  readonly advantage?: number;
  /** Names of the domains. */
  readonly titles?: readonly string[];
  readonly interrupted?: boolean;
}

/** A run that never was, for tests of what shows runs. */
export interface SyntheticRun {
  readonly result: ExperimentResult;
  readonly records: readonly StepRecord[];
}

const windowsADomain = 16;

/** Numbers that look random and are the same each time, from −1 to 1. */
function wobble(...place: readonly number[]): number {
  const phase = place.reduce((sum, value, index) => sum + value * (12.9898 + 65.129 * index), 1);
  const value = Math.sin(phase) * 43_758.5453;
  return 2 * (value - Math.floor(value)) - 1;
}

/** Makes up a run. */
export function syntheticRun(choice: SyntheticChoice = {}): SyntheticRun {
  const steps = choice.steps ?? 300;
  const advantage = choice.advantage ?? 0.15;
  const titles = choice.titles ?? ["Czech", "German", "Japanese", "Russian", "lib.*.d.ts"];
  const settings = syntheticSettings(choice.balance ?? "switch", steps);
  const { numHiddenLayers, numExperts } = settings.model;
  const skew = settings.balance === "none" ? 4 : 1.2;

  const share = (layer: number, expert: number, progress: number): number =>
    Math.exp(skew * progress * wobble(layer, expert, 3));
  const layers = Array.from({ length: numHiddenLayers }, (_, layer) => layer);
  const experts = Array.from({ length: numExperts }, (_, expert) => expert);

  const record = (model: ModelName, step: number): StepRecord => {
    const progress = step / steps;
    const level = 2.6 + 3.4 * Math.exp(-3 * progress) - (model === "sparse" ? advantage : 0);
    const bitsPerByte = level + 0.12 * wobble(step, 5);
    const evaluated = step % Math.ceil(steps / 6) === 0 || step === steps;
    return {
      step,
      model,
      loss: bitsPerByte * Math.LN2 + 0.02,
      bitsPerByte,
      balanceLoss: 0.02,
      learningRate: 0.003,
      gradientNorm: 0.8,
      tokensPerSecond: model === "sparse" ? 1450 : 1820,
      load:
        model === "dense"
          ? layers.map(() => [512])
          : layers.map((layer) =>
              experts.map((expert) => Math.round(100 * share(layer, expert, progress))),
            ),
      ...(evaluated ? { heldOutBitsPerByte: level + 0.05 } : {}),
    };
  };
  const windowDomains = titles.flatMap((_, domain) =>
    Array.from({ length: windowsADomain }, () => domain),
  );
  const model = (name: ModelName): ModelResult => ({
    ...sizes(settings, name),
    tokensPerSecond: name === "sparse" ? 1450 : 1820,
    evaluation:
      choice.interrupted === true
        ? null
        : {
            bitsPerByte: windowDomains.map(
              (domain, window) =>
                2.9 +
                0.4 * wobble(domain, 1) +
                0.5 * wobble(window, 7) +
                (name === "sparse" ? 0.1 * wobble(window, 9) - advantage : 0),
            ),
            load: layers.map((layer) =>
              titles.map((_, domain) =>
                name === "dense"
                  ? [1024]
                  : experts.map((expert) => {
                      const leaning = 1 + 2 * Math.max(0, wobble(layer, domain, expert));
                      return Math.round(100 * share(layer, expert, 1) * leaning);
                    }),
              ),
            ),
          },
  });
  const done = choice.interrupted === true ? Math.floor(steps / 2) : steps;
  const result: ExperimentResult = {
    settings,
    steps,
    stepsDone: done,
    ending: choice.interrupted === true ? "interrupted" : "finished",
    seconds: 174,
    textSource: "made-up text",
    domains: titles.map((title, index) => ({
      name: `d${index}`,
      title,
      trainingBytes: 170_000,
      heldOutBytes: 9_000,
    })),
    windowDomains,
    models: { sparse: model("sparse"), dense: model("dense") },
    notes: [],
  };
  const records = Array.from({ length: done }, (_, index) => index + 1).flatMap((step) => [
    record("sparse", step),
    record("dense", step),
  ]);
  return { result, records };
}

/** Settings of a made-up run. */
export function syntheticSettings(balance: Balance, steps: number | null): Settings {
  const { model, training, evaluation } = presets.default;
  return {
    preset: "default",
    seed: 1,
    backend: "cpu",
    balance,
    minutes: null,
    steps,
    text: null,
    textDigest: "0".repeat(64),
    model,
    training,
    evaluation,
  };
}

function sizes(settings: Settings, name: ModelName): ReturnType<typeof modelSize> {
  const { model, training } = settings;
  return modelSize(name === "sparse" ? model : denseModel(model), training.sequenceLength);
}
