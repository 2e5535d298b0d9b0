import type { JsonObject } from "@moiety/checkpoints";
import { FormatError } from "@moiety/core";
import { type GoldenCase, requireTensor } from "./case.ts";

/** Where a size stands: a weight of the case, and which of its dimensions it is. */
type Place = readonly [weight: string, axis: number];

/** Sizes that the recorded configurations of some families leave out. */
const places: Readonly<Record<string, Readonly<Record<string, Place>>>> = {
  granitemoe: {
    intermediate_size: ["output_linear.weight", 2],
    num_local_experts: ["output_linear.weight", 0],
  },
  granitemoeshared: {
    intermediate_size: ["block_sparse_moe.output_linear.weight", 2],
    num_local_experts: ["block_sparse_moe.output_linear.weight", 0],
  },
  jetmoe: {
    intermediate_size: ["output_linear.weight", 2],
    num_local_experts: ["output_linear.weight", 0],
  },
  minimax: {
    intermediate_size: ["experts.0.w1.weight", 0],
    num_local_experts: ["gate.weight", 0],
  },
};

/** The sizes that a case's configuration leaves out, by its keys. @throws FormatError */
export function missingSizes(golden: GoldenCase, family: string): JsonObject {
  const missing = Object.entries(places[family] ?? {}).filter(([key]) => !(key in golden.config));
  return Object.fromEntries(
    missing.map(([key, [weight, axis]]) => {
      const size = requireTensor(golden, `weights.${weight}`).shape[axis];
      if (size !== undefined) return [key, size];
      throw new FormatError(`weights.${weight} has no axis ${axis}, which gives ${key}`, 0);
    }),
  );
}
