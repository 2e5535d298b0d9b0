import type { Kernel } from "../../kernel.ts";
import { moeFfnBackward } from "./backward.ts";
import { moeFfn } from "./forward.ts";

/** Kernels of the fused expert path, by name. */
export const moeKernels: Readonly<Record<string, Kernel>> = { moeFfn, moeFfnBackward };
