import type { Kernel } from "../../kernel.ts";
import { attentionBackward } from "./attention-backward.ts";
import { attention } from "./attention.ts";
import { crossEntropy, crossEntropyBackward } from "./loss.ts";
import { rmsNorm, rmsNormBackward } from "./norm.ts";
import { adamW } from "./optimizer.ts";
import { rope } from "./rope.ts";
import { logSumExp, softmax } from "./softmax.ts";

/** Kernels of the fused ops that models are made of, by name. */
export const modelKernels: Readonly<Record<string, Kernel>> = {
  softmax,
  logSumExp,
  rmsNorm,
  rmsNormBackward,
  rope,
  attention,
  attentionBackward,
  crossEntropy,
  crossEntropyBackward,
  adamW,
};
