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
 * tokens and k of one, keys and values of all; of the last layer only these but for the last token, whose
 * logits alone are wanted.
 */
export function stepCost(host: HostModel, tokens: number, before: number): Cost {
  const { config, rest } = host;
  const { hidden_size: hidden, num_hidden_layers: layers, vocab_size: vocab } = config;
  const whole = layerCost(host, { tokens, before, asking: tokens });
  const last = layerCost(host, { tokens, before, asking: 1 });
  return {
    bytes: (layers - 1) * whole.bytes + last.bytes + (vocab + tokens) * hidden * WEIGHT_BYTES[rest],
    operations: (layers - 1) * whole.operations + last.operations + 2 * vocab * hidden,
  };
}

/** A layer with keys and values of `tokens` more, of which the last ones, `asking`, go on. */
function layerCost(
  { config, experts: storage, rest }: HostModel,
  { tokens, before, asking }: Readonly<Record<"tokens" | "before" | "asking", number>>,
): Cost {
  const { hidden_size: hidden, intermediate_size: inner, num_experts: experts } = config;
  const { num_experts_per_tok: topK } = config;
  const [square, expert] = [hidden * hidden, 3 * hidden * inner];
  const used = experts * (1 - (1 - topK / experts) ** asking);
  const keys = before + tokens;
  // The last of those that ask attends to all keys, each before it to one less.
  const pairs = asking * keys - (asking * (asking - 1)) / 2;
  const products = 2 * tokens * square + asking * (2 * square + experts * hidden + topK * expert);
  return {
    bytes:
      4 * square * WEIGHT_BYTES[rest] +
      experts * hidden * FLOAT_BYTES +
      used * expert * WEIGHT_BYTES[storage] +
      2 * keys * hidden * FLOAT_BYTES,
    operations: 2 * products + 4 * pairs * hidden,
  };
}
