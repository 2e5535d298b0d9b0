import type { FfnProblem } from "./problem.ts";

/**
 * How the columns of an up projection are met in pairs of quads, so that what belongs together is in
 * one invocation: both halves of four activations, or, in a plain bank, eight activations.
 */
export interface Halves {
  /** Pairs of quads over all columns. */
  readonly pairs: number;
  /** Where a pair's quads begin; `undefined` where they follow each other. */
  readonly columns: ((pair: string) => readonly [first: string, second: string]) | undefined;
  readonly variant: string;
}

/** The pairs of a problem. */
export function halvesOf({ descriptor, innerSize, hiddenSize }: FfnProblem): Halves {
  const { gate } = descriptor;
  if (gate?.packing === "concatenated") {
    return {
      pairs: Math.ceil(innerSize / 4),
      columns: (pair) => [`${pair} * 4u`, `params.innerSize + ${pair} * 4u`],
      variant: "concatenated",
    };
  }
  return {
    pairs: Math.ceil(hiddenSize / 8),
    columns: undefined,
    variant: gate ? "interleaved" : "plain",
  };
}

/**
 * WGSL that takes the columns `h0` and `h1` of `row` (sums and biases), keeps them with `put_kept`
 * where they are wanted, and stores their activations with `put_act`.
 */
export function storeActivations({ descriptor: { gate } }: FfnProblem, kept: boolean): string {
  const line = "row * params.innerSize";
  if (!gate) {
    return `${kept ? keep("pair * 8u", "pair * 8u + 4u", "params.columns", "params.columns") : ""}
  put_act(${line}, pair * 8u, params.innerSize, between(h0, h0));
  put_act(${line}, pair * 8u + 4u, params.innerSize, between(h1, h1));`;
  }
  if (gate.packing === "concatenated") {
    return `${kept ? keep("pair * 4u", "params.innerSize + pair * 4u", "params.innerSize", "params.columns") : ""}
  put_act(${line}, pair * 4u, params.innerSize, between(h0, h1));`;
  }
  return `${kept ? keep("pair * 8u", "pair * 8u + 4u", "params.columns", "params.columns") : ""}
  put_act(${line}, pair * 4u, params.innerSize,
    between(vec4<f32>(h0.x, h0.z, h1.x, h1.z), vec4<f32>(h0.y, h0.w, h1.y, h1.w)));`;
}

function keep(first: string, second: string, firstEnd: string, secondEnd: string): string {
  return `put_kept(row * params.columns, ${first}, ${firstEnd}, h0);
  put_kept(row * params.columns, ${second}, ${secondEnd}, h1);`;
}
