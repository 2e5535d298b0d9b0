import type { KernelSet } from "../../kernel.ts";
import { groupRoutines, groupRows } from "./group-rows.ts";
import { routeBackwardRoutines, routeTopKBackward } from "./route-top-k-backward.ts";
import { routeRoutines, routeTopK } from "./route-top-k.ts";
import { argsort, sortRoutines } from "./sort.ts";
import { topK, topKRoutines } from "./top-k.ts";

/** Kernels that choose, order and group. */
export const selectionKernels: KernelSet = {
  kernels: { topK, argsort, groupRows, routeTopK, routeTopKBackward },
  routines: [
    ...topKRoutines,
    ...sortRoutines,
    ...groupRoutines,
    ...routeRoutines,
    ...routeBackwardRoutines,
  ],
};
