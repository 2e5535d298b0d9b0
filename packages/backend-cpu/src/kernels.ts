import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { compare } from "./compare.ts";
import { fill, iota } from "./creation.ts";
import { cumsum } from "./cumsum.ts";
import { gatherRows, putAlong, segmentSum, takeAlong } from "./gather.ts";
import { groupRows } from "./group-rows.ts";
import { groupedMatmul, groupedMatmulGradWeights } from "./grouped-matmul.ts";
import type { Kernel } from "./kernel.ts";
import { broadcast, concat, pad, slice, transpose, writeSlice } from "./layout.ts";
import { matmul } from "./matmul.ts";
import { dequantize } from "./quantized.ts";
import { normal, randomBits, uniform } from "./random.ts";
import { reduce } from "./reduce.ts";
import { argsort, topK } from "./sort.ts";
import { unary } from "./unary.ts";
import { where } from "./where.ts";

/** The kernel of each op, by name. Ops that are not here run by their decomposition. */
export const KERNELS: Readonly<Record<string, Kernel>> = {
  fill,
  iota,
  cast,
  unary,
  binary,
  compare,
  where,
  broadcast,
  reduce,
  cumsum,
  matmul,
  transpose,
  slice,
  writeSlice,
  concat,
  pad,
  gatherRows,
  takeAlong,
  putAlong,
  segmentSum,
  topK,
  argsort,
  groupRows,
  groupedMatmul,
  groupedMatmulGradWeights,
  randomBits,
  uniform,
  normal,
  dequantize,
};
