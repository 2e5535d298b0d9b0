import { acrossCatalogue } from "./catalogue/across.ts";
import { adaptiveCatalogue } from "./catalogue/adaptive.ts";
import type { RouterEntry } from "./catalogue/entry.ts";
import { gateCatalogue } from "./catalogue/gates.ts";
import { perTokenCatalogue } from "./catalogue/per-token.ts";

/** Every router of this package, as data. */
export const routerCatalogue: readonly RouterEntry[] = /*#__PURE__*/ [
  perTokenCatalogue,
  gateCatalogue,
  adaptiveCatalogue,
  acrossCatalogue,
].flat();
