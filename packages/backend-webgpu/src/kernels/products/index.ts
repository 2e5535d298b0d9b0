import type { Kernel } from "../../kernel.ts";
import { groupedMatmul } from "./grouped-matmul.ts";
import { linear } from "./linear.ts";
import { matmul } from "./matmul.ts";
import { groupedMatmulGradWeights } from "./weight-gradient.ts";

/** Kernels of the matrix products, by the name of their op. */
export const productsKernels: Readonly<Record<string, Kernel>> = {
  matmul,
  linear,
  groupedMatmul,
  groupedMatmulGradWeights,
};
