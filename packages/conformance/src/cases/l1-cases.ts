import type { ConformanceCase } from "../case.ts";
import { argsortCases } from "./l1-argsort.ts";
import { computedCases } from "./l1-computed.ts";
import { presetCases } from "./l1-presets.ts";
import { routeEdgeCases } from "./l1-route-edges.ts";
import { routeLawCases } from "./l1-route-laws.ts";
import { routeSelectCases } from "./l1-route-select.ts";
import { routeShapeCases } from "./l1-route-shapes.ts";
import { routeWeightCases } from "./l1-route-weight.ts";
import { softmaxCases } from "./l1-softmax.ts";
import { topKEdgeCases } from "./l1-top-k-edges.ts";
import { topKCases } from "./l1-top-k.ts";

/** Level 1: routing. */
export const routingCases: readonly ConformanceCase[] = [
  ...softmaxCases,
  ...topKCases,
  ...topKEdgeCases,
  ...argsortCases,
  ...routeShapeCases,
  ...routeSelectCases,
  ...routeWeightCases,
  ...routeEdgeCases,
  ...routeLawCases,
  ...presetCases,
  ...computedCases,
];
