import type { Cost } from "../moe/bounds.ts";
import type { Storage } from "./formats.ts";
import type { HostModel } from "./olmoe.ts";
import { BLOCK } from "./random-matrix.ts";

const FLOAT_BYTES = 4;

/** Bytes of a weight of ours: a number, or a code and its share of a float32 scale. */
const WEIGHT_BYTES: Readonly<Record<Storage, number>> = {
  f32: FLOAT_BYTES,
  f16: 2,
  q8: 1 + FLOAT_BYTES / BLOCK,
  q4: 1 / 2 + FLOAT_BYTES / BLOCK,
};

/**
 * What a step at least reads and computes: `tokens` new ones after `before` others, all experts of many
 * tokens and k of one, keys and values of all; logits of the last token alone.
 */
export function stepCost(
  { config, experts: storage, rest }: HostModel,
  tokens: number,
  before: number,
): Cost {
  const { hidden_size: hidden, intermediate_size: inner, num_experts: experts } = config;
  const { num_experts_per_tok: topK, num_hidden_layers: layers, vocab_size: vocab } = config;
  const [square, expert] = [hidden * hidden, 3 * hidden * inner];
  const used = experts * (1 - (1 - topK / experts) ** tokens);
  // Token i of the new ones attends to those before, to itself, and to i others.
  const pairs = tokens * before + (tokens * (tokens + 1)) / 2;
  const perLayer = {
    bytes:
      4 * square * WEIGHT_BYTES[rest] +
      experts * hidden * FLOAT_BYTES +
      used * expert * WEIGHT_BYTES[storage] +
      2 * (before + tokens) * hidden * FLOAT_BYTES,
    operations: 2 * tokens * (4 * square + experts * hidden + topK * expert) + 4 * pairs * hidden,
  };
  return {
    bytes: layers * perLayer.bytes + (vocab + tokens) * hidden * WEIGHT_BYTES[rest],
    operations: layers * perLayer.operations + 2 * vocab * hidden,
  };
}
