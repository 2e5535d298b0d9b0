import { type Attributes, type Tensor, add, moeFfn, slice } from "@moiety/core";
import { decompositionOf } from "./base-driver.ts";

/** The inputs of `moeFfn` in order. */
export type FfnInputs = readonly (Tensor | undefined)[];

/** What the experts give, weighted and added choice by choice, each sum rounded. */
export function sumOfChoices(inputs: FfnInputs, attributes: Attributes): Tensor {
  const [x, indices, outputWeights, up, down, upBias, downBias, inputWeights] = inputs;
  const [tokens = 0, k = 0] = indices?.shape ?? [];
  const choice = (of: Tensor | undefined, j: number): Tensor | undefined =>
    of && slice(of, { starts: [0, j], sizes: [tokens, 1] });
  let total: Tensor | undefined;
  for (let j = 0; j < k; j++) {
    const [ids, weights, factors] = [indices, outputWeights, inputWeights].map((of) =>
      choice(of, j),
    );
    const one = [x, ids, weights, up, down, upBias, downBias, factors];
    const [y] = decompositionOf(moeFfn)(one, attributes);
    total = total && y ? add(total, y) : y;
  }
  const [nothing] = total ? [total] : decompositionOf(moeFfn)(inputs, attributes);
  if (nothing) return nothing;
  throw new TypeError("moeFfn gave nothing");
}
