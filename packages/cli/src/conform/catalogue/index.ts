import type { ConformanceCase } from "@moiety/conformance";
import { catalogueBankCases } from "./banks.ts";
import { controllerCases } from "./controllers.ts";
import { catalogueLossCases } from "./losses.ts";
import { catalogueRouterCases } from "./routers.ts";
import { attentionExpertCases, sharedExpertCases } from "./shared.ts";

/** Cases of every router, bank, loss and controller of the libraries, beside those of the kit. */
export const catalogueCases: readonly ConformanceCase[] = [
  ...catalogueRouterCases,
  ...catalogueBankCases,
  ...sharedExpertCases,
  ...attentionExpertCases,
  ...catalogueLossCases,
  ...controllerCases,
];
