import { ConfigError } from "@moiety/core";
import { automatic } from "./worker.ts";
import type { TrainOptions } from "./options.ts";
import type { Settings } from "./settings.ts";

/**
 * Refuses options that contradict the run they would continue; repeating what it has is allowed.
 *
 * @throws ConfigError naming the first option that differs.
 */
export function refuseOtherSettings(
  options: TrainOptions,
  settings: Settings,
  folder: string,
): void {
  const pairs: readonly (readonly [flag: string, given: unknown, kept: unknown])[] = [
    ["--preset", options.preset, settings.preset],
    ["--seed", options.seed, settings.seed],
    ["--backend", options.backend, settings.backend],
    ["--router", options.router, settings.router],
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
    if (flag === "--backend" && given === automatic) continue;
    throw new ConfigError(
      `${flag} ${String(given)} does not fit the run in ${folder}, which has ` +
        `${kept === null ? "none" : String(kept)}: a resumed run keeps its settings; ` +
        `leave ${flag} out, or start a new run without --resume`,
      flag,
      given,
    );
  }
}
