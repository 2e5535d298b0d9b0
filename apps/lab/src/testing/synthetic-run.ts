import { modelSize } from "../size.ts";
import { sizesOf } from "../model-config.ts";
import type { ExperimentResult, ModelName, ModelResult, StepRecord } from "../result.ts";
import { type NewSettings, type Settings, newSettings } from "../settings.ts";
import { forTwins, modelNames } from "../twins.ts";

/** What a made-up run is to look like. */
export interface SyntheticChoice {
  readonly steps?: number;
  readonly router?: string;
  readonly balance?: string;
  /** What the sparse model has less than the dense one, bits/byte. */
  readonly advantage?: number;
  /** What it has less than the hashed one. */
  readonly overHash?: number;
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
  const behind = choice.overHash ?? 0.05;
  const settings = syntheticSettings(choice.balance ?? "switch", steps, choice.router);
  const { numHiddenLayers, numExperts } = settings.model;
  const skew = settings.balance === "none" ? 4 : 1.2;

  const share = (layer: number, expert: number, progress: number): number =>
    Math.exp(skew * progress * wobble(layer, expert, 3));
  const layers = Array.from({ length: numHiddenLayers }, (_, layer) => layer);
  const experts = Array.from({ length: numExperts }, (_, expert) => expert);

  /** What a model has less than the dense one, bits/byte. */
  const gain = { sparse: advantage, dense: 0, hash: advantage - behind };

  const record = (model: ModelName, step: number): StepRecord => {
    const progress = step / steps;
    const level = 2.6 + 3.4 * Math.exp(-3 * progress) - gain[model];
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
                (name === "dense" ? 0 : 0.1 * wobble(window, name === "hash" ? 11 : 9)) -
                gain[name],
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
    worker: "cpu, nobody worked",
    textSource: "made-up text",
    domains: titles.map((title, index) => ({
      name: `d${index}`,
      title,
      trainingBytes: 170_000,
      heldOutBytes: 9_000,
    })),
    windowDomains,
    models: forTwins(model),
    notes: [],
  };
  const records = Array.from({ length: done }, (_, index) => index + 1).flatMap((step) =>
    modelNames.map((name) => record(name, step)),
  );
  return { result, records };
}

/** Settings of a made-up run. */
export function syntheticSettings(
  balance: string,
  steps: number | null,
  router?: string,
): Settings {
  const defaults: NewSettings = newSettings({ preset: "small", backend: "cpu" });
  return {
    ...defaults,
    router: router ?? defaults.router,
    balance,
    minutes: null,
    steps,
    text: null,
    textDigest: "0".repeat(64),
  };
}

function sizes(settings: Settings, name: ModelName): ReturnType<typeof modelSize> {
  const router = name === "hash" ? { parameters: 0, multiplied: 0 } : undefined;
  return modelSize(sizesOf(name, settings), settings.training.sequenceLength, router);
}
