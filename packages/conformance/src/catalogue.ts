import type { ConformanceCase } from "./case.ts";
import { extensionCases } from "./cases/extension-cases.ts";
import { gradientCases } from "./cases/grad-cases.ts";
import { backendCases } from "./cases/l0-backend.ts";
import { capabilityCases } from "./cases/l0-capabilities.ts";
import { lifecycleCases } from "./cases/l0-lifecycle.ts";
import { binaryCases } from "./cases/l0-ops-binary.ts";
import { choiceCases } from "./cases/l0-ops-choice.ts";
import { creationCases } from "./cases/l0-ops-creation.ts";
import { layoutOpCases } from "./cases/l0-ops-layout.ts";
import { randomCases } from "./cases/l0-ops-random.ts";
import { reduceCases } from "./cases/l0-ops-reduce.ts";
import { unaryCases } from "./cases/l0-ops-unary.ts";
import { tensorCases } from "./cases/l0-tensors.ts";
import { routingCases } from "./cases/l1-cases.ts";
import { permuteCases } from "./cases/l2-cases.ts";
import { expertCases } from "./cases/l3-cases.ts";
import { wholeCases } from "./cases/l4-cases.ts";

/** Every case of the kit, level by level. */
export const allCases: readonly ConformanceCase[] = [
  ...backendCases,
  ...capabilityCases,
  ...tensorCases,
  ...lifecycleCases,
  ...creationCases,
  ...unaryCases,
  ...binaryCases,
  ...choiceCases,
  ...reduceCases,
  ...layoutOpCases,
  ...randomCases,
  ...routingCases,
  ...permuteCases,
  ...expertCases,
  ...wholeCases,
  ...gradientCases,
  ...extensionCases,
];
