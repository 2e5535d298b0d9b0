import type { ConformanceCase } from "../case.ts";
import { elementwiseGradientCases } from "./grad-elementwise.ts";
import { fusedGradientCases } from "./grad-fused.ts";
import { gradientLawCases } from "./grad-laws.ts";
import { layerGradientCases } from "./grad-layer.ts";
import { layoutGradientCases } from "./grad-layout.ts";
import { productGradientCases } from "./grad-products.ts";

/** The extension `grad`, of every level. */
export const gradientCases: readonly ConformanceCase[] = [
  ...elementwiseGradientCases,
  ...layoutGradientCases,
  ...productGradientCases,
  ...fusedGradientCases,
  ...layerGradientCases,
  ...gradientLawCases,
];
