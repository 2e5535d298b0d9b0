import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { fill, iota } from "./creation.ts";
import { gatherRows, putAlong, takeAlong } from "./gather.ts";
import { groupRows } from "./group-rows.ts";
import { groupedMatmul, groupedMatmulGradWeights, segmentSum } from "./grouped.ts";
import type { Kernel } from "./kernel.ts";
import { broadcast, concat, pad, slice, transpose, writeSlice } from "./layout.ts";
import { matmul } from "./matmul.ts";
import { dequantize } from "./quantized.ts";
import { normal, randomBits, uniform } from "./random.ts";
import { argsort, topK } from "./rank.ts";
import { cumsum, reduce } from "./reduce.ts";
import { compare } from "./relation.ts";
import { unary } from "./unary.ts";
import { where } from "./where.ts";

/** The kernels by the names of their ops: those without a decomposition, and no others. */
export const KERNELS: Readonly<Record<string, Kernel>> = {
  argsort,
  binary,
  broadcast,
  cast,
  compare,
  concat,
  cumsum,
  dequantize,
  fill,
  gatherRows,
  groupRows,
  groupedMatmul,
  groupedMatmulGradWeights,
  iota,
  matmul,
  normal,
  pad,
  putAlong,
  randomBits,
  reduce,
  segmentSum,
  slice,
  takeAlong,
  topK,
  transpose,
  unary,
  uniform,
  where,
  writeSlice,
};
