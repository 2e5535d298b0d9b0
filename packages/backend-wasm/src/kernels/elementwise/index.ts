import type { KernelSet } from "../../kernel.ts";
import { binary, binaryRoutines } from "./binary.ts";
import { cast, castRoutines } from "./cast.ts";
import { compare, compareRoutines } from "./compare.ts";
import { creationRoutines, fill, iota } from "./creation.ts";
import { normal, randomBits, randomRoutines, uniform } from "./random.ts";
import { unary, unaryRoutines } from "./unary.ts";
import { where, whereRoutines } from "./where.ts";

/** Kernels that treat every element alike. */
export const elementwiseKernels: KernelSet = {
  kernels: { fill, iota, cast, unary, binary, compare, where, randomBits, uniform, normal },
  routines: [
    ...creationRoutines,
    ...castRoutines,
    ...unaryRoutines,
    ...binaryRoutines,
    ...compareRoutines,
    ...whereRoutines,
    ...randomRoutines,
  ],
};
