import type { ConformanceCase } from "../case.ts";
import { batchInvariantCases } from "./extension-batch-invariant.ts";
import { deterministicCases } from "./extension-deterministic.ts";
import { deviceLossCases } from "./extension-device-loss.ts";
import { halfCases } from "./extension-f16.ts";
import { fusedBackwardCases } from "./extension-fused-backward.ts";
import { fusedCases } from "./extension-fused.ts";
import { orderCases } from "./extension-order.ts";
import { quantisedCases } from "./extension-quantised.ts";
import { roundedCases } from "./extension-rounded.ts";
import { segmentedCases } from "./extension-segmented.ts";
import { heldLinearCases } from "./l3-linear.ts";

/** Fused kernels, equal bits, half floats, quantised weights, segments and lost devices. */
export const extensionCases: readonly ConformanceCase[] = [
  ...fusedCases,
  ...fusedBackwardCases,
  ...deterministicCases,
  ...batchInvariantCases,
  ...halfCases,
  ...quantisedCases,
  ...roundedCases,
  ...heldLinearCases,
  ...segmentedCases,
  ...deviceLossCases,
  ...orderCases,
];
