import type { Kernel, KernelSet } from "./kernel.ts";
import { elementwiseKernels } from "./kernels/elementwise/index.ts";
import { linearKernels } from "./kernels/linear.ts";
import { modelKernels } from "./kernels/model/index.ts";
import { layoutKernels } from "./kernels/layout/index.ts";
import { moeKernels } from "./kernels/moe/index.ts";
import { productKernels } from "./kernels/products/index.ts";
import { quantizedKernels } from "./kernels/quantized/index.ts";
import { reductionKernels } from "./kernels/reduction/index.ts";
import { selectionKernels } from "./kernels/selection/index.ts";
import type { Routine } from "./routine.ts";

const SETS: readonly KernelSet[] = [
  elementwiseKernels,
  layoutKernels,
  quantizedKernels,
  reductionKernels,
  productKernels,
  linearKernels,
  selectionKernels,
  modelKernels,
  moeKernels,
];

/** The kernel of each op, by name. Ops that are not here run by their decomposition. */
export const KERNELS: Readonly<Record<string, Kernel>> = /*#__PURE__*/ Object.assign(
  {},
  .../*#__PURE__*/ SETS.map(({ kernels }) => kernels),
);

/** Every routine that a kernel launches. */
export const ROUTINES: readonly Routine[] = /*#__PURE__*/ SETS.flatMap(({ routines }) => routines);
