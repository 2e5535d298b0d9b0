import { balances } from "./balances.ts";
import { type PresetName, presets } from "./presets.ts";
import { routers } from "./routers.ts";
import { fallback, usualPreset } from "./settings.ts";

/** Presets that there are. */
export const presetNames: readonly string[] = /*#__PURE__*/ Object.keys(presets);

/** Routers of the catalogue; some of them are refused, with the reason. */
export const routerNames: readonly string[] = /*#__PURE__*/ Object.keys(routers);

/** Losses and controllers that may keep a load even; some of them are refused, with the reason. */
export const balanceNames: readonly string[] = /*#__PURE__*/ Object.keys(balances);

/** What holds where the options say nothing. */
export interface UsualOptions {
  /** The preset; of the reference backend `presetOnReference`. */
  readonly preset: PresetName;
  readonly presetOnReference: PresetName;
  readonly backend: string;
  readonly seed: number;
  readonly router: string;
}

/** What holds where the options say nothing. */
export function usualOptions(): UsualOptions {
  return {
    ...fallback,
    preset: usualPreset(fallback.backend),
    presetOnReference: usualPreset("cpu"),
  };
}
