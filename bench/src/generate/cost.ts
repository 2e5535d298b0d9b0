import type { Cost } from "../moe/bounds.ts";
import type { ExpertFormat, HostModel } from "./olmoe.ts";
import { BLOCK } from "./random-matrix.ts";

const FLOAT_BYTES = 4;
const HALF_BYTES = 2;

/** Bytes of a weight: a code, and its share of a float32 scale. */
export const EXPERT_BYTES: Readonly<Record<ExpertFormat, number>> = {
  f32: FLOAT_BYTES,
  q8: 1 + FLOAT_BYTES / BLOCK,
  q4: 1 / 2 + FLOAT_BYTES / BLOCK,
};

/**
 * What a step at least reads and computes: `tokens` new ones after `before` others, all experts of many
 * tokens and k of one, keys and values of all; logits of the last token alone.
 */
export function stepCost(
  { config, format, rest }: HostModel,
  tokens: number,
  before: number,
): Cost {
  const { hidden_size: hidden, intermediate_size: inner, num_experts: experts } = config;
  const { num_experts_per_tok: topK, num_hidden_layers: layers, vocab_size: vocab } = config;
  const restBytes = rest === "f16" ? HALF_BYTES : FLOAT_BYTES;
  const [square, expert] = [hidden * hidden, 3 * hidden * inner];
  const used = experts * (1 - (1 - topK / experts) ** tokens);
  // Token i of the new ones attends to those before, to itself, and to i others.
  const pairs = tokens * before + (tokens * (tokens + 1)) / 2;
  const perLayer = {
    bytes:
      4 * square * restBytes +
      experts * hidden * FLOAT_BYTES +
      used * expert * EXPERT_BYTES[format] +
      2 * (before + tokens) * hidden * FLOAT_BYTES,
    operations: 2 * tokens * (4 * square + experts * hidden + topK * expert) + 4 * pairs * hidden,
  };
  return {
    bytes: layers * perLayer.bytes + (vocab + tokens) * hidden * restBytes,
    operations: layers * perLayer.operations + 2 * vocab * hidden,
  };
}
