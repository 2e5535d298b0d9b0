import type { ConformanceCase } from "../case.ts";
import { alongCases } from "./l2-along.ts";
import { capacityCases } from "./l2-capacity.ts";
import { combineCases } from "./l2-combine.ts";
import { expertChoiceCases } from "./l2-expert-choice.ts";
import { gatherRowsCases } from "./l2-gather-rows.ts";
import { groupRowsCases } from "./l2-group-rows.ts";
import { planCases } from "./l2-plan.ts";
import { segmentSumCases } from "./l2-segment-sum.ts";

/** Level 2: permute, dispatch, combine. */
export const permuteCases: readonly ConformanceCase[] = [
  ...gatherRowsCases,
  ...alongCases,
  ...segmentSumCases,
  ...groupRowsCases,
  ...planCases,
  ...combineCases,
  ...capacityCases,
  ...expertChoiceCases,
];
