import type { ConformanceCase } from "../case.ts";
import { adamWCases } from "./l4-adamw.ts";
import { attentionLimitCases } from "./l4-attention-limits.ts";
import { attentionCases } from "./l4-attention.ts";
import { layerLawCases } from "./l4-laws.ts";
import { layerCases } from "./l4-layer.ts";
import { lossCases } from "./l4-losses.ts";
import { modelCases } from "./l4-model.ts";

/** Level 4: the parts of a model, whole layers, losses and the optimizer. */
export const wholeCases: readonly ConformanceCase[] = [
  ...modelCases,
  ...attentionCases,
  ...attentionLimitCases,
  ...adamWCases,
  ...layerCases,
  ...layerLawCases,
  ...lossCases,
];
