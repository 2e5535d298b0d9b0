import type { Kernel } from "../../kernel.ts";
import { argsort } from "./argsort.ts";
import { gatherRows, putAlong, takeAlong } from "./gather.ts";
import { groupRows } from "./group-rows.ts";
import { routeTopK } from "./route-top-k.ts";
import { routeTopKBackward } from "./route-top-k-backward.ts";
import { segmentSum } from "./segment-sum.ts";
import { topK } from "./top-k.ts";

/** Kernels of the ops that choose, order and move rows, by name. */
export const selectionKernels: Readonly<Record<string, Kernel>> = {
  gatherRows,
  takeAlong,
  putAlong,
  segmentSum,
  topK,
  argsort,
  groupRows,
  routeTopK,
  routeTopKBackward,
};
