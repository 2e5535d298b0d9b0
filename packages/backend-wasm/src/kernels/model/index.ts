import type { KernelSet } from "../../kernel.ts";
import { attention, attentionBackward, attentionRoutines } from "./attention/index.ts";
import { crossEntropy, crossEntropyBackward, lossRoutines } from "./loss.ts";
import { normRoutines, rmsNorm, rmsNormBackward } from "./norm.ts";
import { adamW, optimizerRoutines } from "./optimizer.ts";
import { rope, ropeRoutines } from "./rope.ts";

/** Kernels of the fused ops that models are made of. */
export const modelKernels: KernelSet = {
  kernels: {
    rmsNorm,
    rmsNormBackward,
    rope,
    attention,
    attentionBackward,
    crossEntropy,
    crossEntropyBackward,
    adamW,
  },
  routines: [
    ...normRoutines,
    ...ropeRoutines,
    ...attentionRoutines,
    ...lossRoutines,
    ...optimizerRoutines,
  ],
};
