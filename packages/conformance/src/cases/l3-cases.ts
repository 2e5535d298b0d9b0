import type { ConformanceCase } from "../case.ts";
import { activationCases } from "./l3-activations.ts";
import { aliasingCases } from "./l3-aliasing.ts";
import { dequantizeCases } from "./l3-dequantize.ts";
import { groupedGradientCases } from "./l3-grouped-gradient.ts";
import { groupedMatmulCases } from "./l3-grouped-matmul.ts";
import { linearCases } from "./l3-linear.ts";
import { matmulCases } from "./l3-matmul.ts";
import { moeFfnLawCases } from "./l3-moe-ffn-laws.ts";
import { moeFfnCases } from "./l3-moe-ffn.ts";
import { roundBlocksCases } from "./l3-round-blocks.ts";

/** Level 3: products, activations and the expert path. */
export const expertCases: readonly ConformanceCase[] = [
  ...matmulCases,
  ...linearCases,
  ...groupedMatmulCases,
  ...groupedGradientCases,
  ...activationCases,
  ...dequantizeCases,
  ...roundBlocksCases,
  ...moeFfnCases,
  ...moeFfnLawCases,
  ...aliasingCases,
];
