import { ConfigError } from "@moiety/core";
import type { Options } from "./options.ts";
import { presets } from "./presets.ts";
import type {
  Balance,
  EvaluationSettings,
  ModelSettings,
  PresetName,
  TrainingSettings,
} from "./presets.ts";

/** All that decides a run's numbers; it lies as `run.json` in the run's folder. */
export interface Settings {
  readonly preset: PresetName;
  readonly seed: number;
  readonly backend: string;
  readonly balance: Balance;
  /** The time that fixed or will fix the steps, or null where they were given. */
  readonly minutes: number | null;
  /** Length of the schedule; null until the first steps have been timed. */
  readonly steps: number | null;
  /** Absolute paths of the user's files, or null for the installed text. */
  readonly text: readonly string[] | null;
  /** Digest of the text's bytes. */
  readonly textDigest: string;
  /** The sparse model; the dense one follows from it. */
  readonly model: ModelSettings;
  readonly training: TrainingSettings;
  readonly evaluation: EvaluationSettings;
}

/** The settings of a new run, before its text is read. */
export type NewSettings = Omit<Settings, "text" | "textDigest">;

/** What holds where neither the command line nor the preset says otherwise. */
export const fallback: Readonly<{ preset: PresetName; seed: number; backend: string }> = {
  preset: "default",
  seed: 1,
  backend: "cpu",
};

/**
 * Completes the options of a new run with its preset.
 *
 * @throws ConfigError for options that do not go together.
 */
export function newSettings(options: Options): NewSettings {
  const name = options.preset ?? fallback.preset;
  const preset = presets[name];
  if (options.steps !== undefined && options.minutes !== undefined) {
    throw new ConfigError(
      "--steps and --minutes both set the length of the schedule: give one of them",
      "steps",
      options.steps,
    );
  }
  const numExperts = options.experts ?? preset.model.numExperts;
  const numExpertsPerTok = options.topK ?? preset.model.numExpertsPerTok;
  if (numExpertsPerTok > numExperts) {
    const origin = options.topK === undefined ? ` of preset ${name}` : "";
    const limit = options.experts === undefined ? ` of preset ${name}` : "";
    throw new ConfigError(
      `--top-k ${numExpertsPerTok}${origin} is above --experts ${numExperts}${limit}: ` +
        `give a --top-k of at most ${numExperts}, or more experts`,
      "topK",
      numExpertsPerTok,
    );
  }
  const timed = options.minutes !== undefined;
  return {
    preset: name,
    seed: options.seed ?? fallback.seed,
    backend: options.backend ?? fallback.backend,
    balance: options.balance ?? "switch",
    minutes: options.steps === undefined ? (options.minutes ?? preset.minutes) : null,
    steps: timed ? null : (options.steps ?? preset.steps),
    model: { ...preset.model, numExperts, numExpertsPerTok },
    training: preset.training,
    evaluation: preset.evaluation,
  };
}

/**
 * Refuses options that contradict the run they would continue; repeating what it has is allowed.
 *
 * @throws ConfigError naming the first option that differs.
 */
export function refuseOtherSettings(options: Options, settings: Settings, folder: string): void {
  const pairs: readonly (readonly [flag: string, given: unknown, kept: unknown])[] = [
    ["--preset", options.preset, settings.preset],
    ["--seed", options.seed, settings.seed],
    ["--backend", options.backend, settings.backend],
    ["--balance", options.balance, settings.balance],
    ["--minutes", options.minutes, settings.minutes],
    ["--steps", options.steps, settings.steps],
    ["--experts", options.experts, settings.model.numExperts],
    ["--top-k", options.topK, settings.model.numExpertsPerTok],
    ["--text", options.text?.join(" "), settings.text?.join(" ") ?? null],
    ["--out", options.out, folder],
  ];
  for (const [flag, given, kept] of pairs) {
    if (given === undefined || given === kept) continue;
    throw new ConfigError(
      `${flag} ${String(given)} does not fit the run in ${folder}, which has ` +
        `${kept === null ? "none" : String(kept)}: a resumed run keeps its settings; ` +
        `leave ${flag} out, or start a new run without --resume`,
      flag,
      given,
    );
  }
}
