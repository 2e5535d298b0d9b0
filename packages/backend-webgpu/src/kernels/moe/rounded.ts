import { roundsActivations } from "@moiety/core";
import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { roundChoices, roundNumbers } from "../elementwise/round-blocks.ts";
import type { FfnProblem } from "./problem.ts";

/** Whether the products of a problem read rounded rows. */
function rounds({ descriptor: { format } }: FfnProblem): boolean {
  return format !== undefined && roundsActivations(format);
}

/**
 * The problem on rounded tokens, where its weights want them. Input weights come before the rounding:
 * each choice of a token then has a row of its own, and nothing is left to be weighted.
 */
export function roundedProblem(call: KernelCall, problem: FfnProblem): FfnProblem {
  if (!rounds(problem)) return problem;
  const { x, inputWeights, tokens, choices, rows, inputSize: width } = problem;
  const shape = inputWeights ? [rows, width] : x.shape;
  const handle = call.temporary({ shape, dtype: "f32" });
  if (inputWeights) {
    const factors = inputWeights.handle;
    roundChoices(call, { source: x.handle, width, factors, tokens, choices }, handle);
  } else {
    roundNumbers(call, x.handle, x.size, handle);
  }
  return {
    ...problem,
    x: { ...x, handle, shape },
    rowPerChoice: inputWeights !== undefined,
    inputWeights: undefined,
  };
}

/** Rounds `[A, I]` where they are, where the weights behind them want it. */
export function roundActivations(
  call: KernelCall,
  problem: FfnProblem,
  activations: GpuHandle,
): void {
  const { rows, innerSize } = problem;
  if (rounds(problem)) roundNumbers(call, activations, rows * innerSize, activations);
}
