import type { MoeConfig } from "../decoder/config.ts";

/** A factor of what the experts give together, before a shared one is added; none where it is 1. */
export function outputFactor(factor: number): MoeConfig["around"] {
  return factor === 1 ? undefined : [{ kind: "factor", factor }];
}
