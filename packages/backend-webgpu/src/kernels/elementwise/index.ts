import type { Kernel } from "../../kernel.ts";
import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { compare } from "./compare.ts";
import { fill, iota } from "./creation.ts";
import { cumsum } from "./cumsum.ts";
import { dequantize } from "./dequantize.ts";
import { normal, randomBits, uniform } from "./random.ts";
import { reduce } from "./reduce.ts";
import { roundBlocks } from "./round-blocks.ts";
import { unary } from "./unary.ts";
import { where } from "./where.ts";

/** Kernels of the ops that work element by element, and of sums along axes, by name. */
export const elementwiseKernels: Readonly<Record<string, Kernel>> = {
  fill,
  iota,
  cast,
  unary,
  binary,
  compare,
  where,
  reduce,
  cumsum,
  randomBits,
  uniform,
  normal,
  dequantize,
  roundBlocks,
};
