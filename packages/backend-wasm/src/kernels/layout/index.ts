import type { KernelSet } from "../../kernel.ts";
import { copyRoutines } from "./copy.ts";
import { gatherRoutines, gatherRows, putAlong, takeAlong } from "./gather.ts";
import { broadcast, concat, pad, slice, transpose, writeSlice } from "./layout.ts";
import { segmentSum, segmentSumRoutines } from "./segment-sum.ts";
import { transposeRoutines } from "./transpose.ts";

/** Kernels that move elements. */
export const layoutKernels: KernelSet = {
  kernels: {
    broadcast,
    transpose,
    slice,
    writeSlice,
    concat,
    pad,
    gatherRows,
    takeAlong,
    putAlong,
    segmentSum,
  },
  routines: [...copyRoutines, ...transposeRoutines, ...gatherRoutines, ...segmentSumRoutines],
};
