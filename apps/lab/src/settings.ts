import { ConfigError } from "@moiety/core";
import { automatic } from "./worker.ts";
import { balanceOf } from "./balances.ts";
import type { TrainOptions } from "./options.ts";
import { presets } from "./presets.ts";
import type {
  EvaluationSettings,
  ModelSettings,
  Preset,
  PresetName,
  TrainingSettings,
} from "./presets.ts";
import { evenReason, ownRouter, routerOf, routerRefusal, usualBalance } from "./routers.ts";

/** All that decides a run's numbers; it lies as `run.json` in the run's folder. */
export interface Settings {
  readonly preset: PresetName;
  readonly seed: number;
  /** What the run computes on; `auto` until that is found out. */
  readonly backend: string;
  /** Name in the catalogue of the sparse model's router. */
  readonly router: string;
  /** Name of what keeps the load of the sparse model even. */
  readonly balance: string;
  /** The time that fixed or will fix the steps, or null where they were given. */
  readonly minutes: number | null;
  /** Length of the schedule; null until the first steps have been timed. */
  readonly steps: number | null;
  /** Absolute paths of the user's files, or null for the installed text. */
  readonly text: readonly string[] | null;
  /** Digest of the text's bytes. */
  readonly textDigest: string;
  /** The sparse model; the others follow from it. */
  readonly model: ModelSettings;
  readonly training: TrainingSettings;
  readonly evaluation: EvaluationSettings;
}

/** The settings of a new run, before its text is read. */
export type NewSettings = Omit<Settings, "text" | "textDigest">;

/** What holds where neither the command line nor the preset says otherwise. */
export const fallback: Readonly<{ seed: number; backend: string; router: string }> = {
  seed: 1,
  backend: automatic,
  router: "mixtralRouter",
};

/** The sizes that a backend trains in minutes, unless others are asked for. */
export function usualPreset(backend: string): PresetName {
  return backend === "cpu" ? "small" : "anchor";
}

/**
 * Completes the options of a new run with its preset.
 *
 * @throws ConfigError for options that do not go together.
 */
export function newSettings(options: TrainOptions): NewSettings {
  const { backend = fallback.backend } = options;
  const name = options.preset ?? usualPreset(backend);
  const preset = presets[name];
  if (options.steps !== undefined && options.minutes !== undefined) {
    throw new ConfigError(
      "--steps and --minutes both set the length of the schedule: give one of them",
      "steps",
      options.steps,
    );
  }
  const router = requireRouter(options.router ?? fallback.router);
  const timed = options.minutes !== undefined;
  return {
    preset: name,
    seed: options.seed ?? fallback.seed,
    backend,
    router,
    balance: balanceFor(router, options.balance),
    minutes: options.steps === undefined ? (options.minutes ?? preset.minutes) : null,
    steps: timed ? null : (options.steps ?? preset.steps),
    model: {
      ...preset.model,
      ...expertsFor(router, options, preset, name),
      normTopkProb: ownRouter(router) ?? preset.model.normTopkProb,
    },
    training: preset.training,
    evaluation: preset.evaluation,
  };
}

function requireRouter(name: string): string {
  const refusal = routerRefusal(routerOf(name));
  if (refusal === undefined) return name;
  throw new ConfigError(
    `--router ${name} does not train here: ${refusal}; --list tells which do`,
    "router",
    name,
  );
}

function balanceFor(router: string, given: string | undefined): string {
  if (given === undefined) return usualBalance(router);
  const balance = balanceOf(given);
  const even = given === "none" ? undefined : evenReason(router);
  const elsewhere =
    balance.router === undefined || balance.router === router
      ? undefined
      : `it is for the routings of ${balance.router}`;
  const refusal = balance.refusal ?? elsewhere ?? (even && `of ${router}, ${even}`);
  if (refusal === undefined) return given;
  throw new ConfigError(
    `--balance ${given} does nothing here: ${refusal}; --list tells what there is`,
    "balance",
    given,
  );
}

function expertsFor(
  router: string,
  options: TrainOptions,
  preset: Preset,
  name: PresetName,
): Pick<ModelSettings, "numExperts" | "numExpertsPerTok"> {
  const numExperts = options.experts ?? preset.model.numExperts;
  const fixed = routerOf(router).topK;
  if (fixed !== undefined && options.topK !== undefined && options.topK !== fixed) {
    throw new ConfigError(
      `--top-k ${options.topK} does not fit --router ${router}, whose tokens take ${fixed}: ` +
        "leave --top-k out, or give another router",
      "topK",
      options.topK,
    );
  }
  const numExpertsPerTok = fixed ?? options.topK ?? preset.model.numExpertsPerTok;
  if (numExpertsPerTok > numExperts) {
    const origin =
      options.topK !== undefined
        ? ""
        : fixed === undefined
          ? ` of preset ${name}`
          : ` of ${router}`;
    const limit = options.experts === undefined ? ` of preset ${name}` : "";
    throw new ConfigError(
      `--top-k ${numExpertsPerTok}${origin} is above --experts ${numExperts}${limit}: ` +
        `give a --top-k of at most ${numExperts}, or more experts`,
      "topK",
      numExpertsPerTok,
    );
  }
  return { numExperts, numExpertsPerTok };
}
