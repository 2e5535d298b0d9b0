import type { KernelSet } from "../../kernel.ts";
import { moeFfnBackward } from "./backward.ts";
import { backwardRowRoutines } from "./backward-rows.ts";
import { combineRoutines } from "./combine.ts";
import { moeFfn } from "./forward.ts";
import { rowWorkRoutines } from "./row-work.ts";
import { upRoutines } from "./up.ts";

/** The fused kernels of a mixture of experts. */
export const moeKernels: KernelSet = {
  kernels: { moeFfn, moeFfnBackward },
  routines: [...upRoutines, ...combineRoutines, ...rowWorkRoutines, ...backwardRowRoutines],
};
