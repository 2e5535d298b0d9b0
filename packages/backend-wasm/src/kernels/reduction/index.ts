import type { KernelSet } from "../../kernel.ts";
import { cumsum, cumsumRoutines } from "./cumsum.ts";
import { reduce } from "./reduce.ts";
import { reduceColumns, reduceRows } from "./reduce-routines.ts";
import { logSumExp, softmax, softmaxRoutines } from "./softmax.ts";

/** Kernels that make less of rows or columns, or run along them. */
export const reductionKernels: KernelSet = {
  kernels: { reduce, cumsum, softmax, logSumExp },
  routines: [...reduceRows, ...reduceColumns, ...cumsumRoutines, ...softmaxRoutines],
};
