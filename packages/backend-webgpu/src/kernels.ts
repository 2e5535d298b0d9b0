import { productFormats } from "@moiety/core";
import type { Kernel } from "./kernel.ts";
import { elementwiseKernels } from "./kernels/elementwise/index.ts";
import { layoutKernels } from "./kernels/layout/index.ts";
import { modelKernels } from "./kernels/model/index.ts";
import { moeKernels } from "./kernels/moe/index.ts";
import { productsKernels } from "./kernels/products/index.ts";
import { selectionKernels } from "./kernels/selection/index.ts";

/** Storage formats of weights that kernels read. */
export const FORMATS: readonly string[] = ["f16", "bf16", ...productFormats];

/** Sizes at which kernels cut their work. */
export const TILE_SIZES: readonly number[] = [64];

/** The kernel of each op, by name. Ops that are not here run by their decomposition. */
export const KERNELS: Readonly<Record<string, Kernel>> = {
  ...elementwiseKernels,
  ...layoutKernels,
  ...selectionKernels,
  ...productsKernels,
  ...modelKernels,
  ...moeKernels,
};
