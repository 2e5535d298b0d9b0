import type { Kernel } from "../../kernel.ts";
import { broadcast, concat, pad, slice, transpose, writeSlice } from "./layout.ts";

/** Kernels of the ops that move elements, by name. */
export const layoutKernels: Readonly<Record<string, Kernel>> = {
  broadcast,
  transpose,
  slice,
  writeSlice,
  concat,
  pad,
};
