import createCpu from "@moiety/backend-cpu";
import createWasm from "@moiety/backend-wasm";
import type { JsonObject } from "@moiety/checkpoints";
import {
  type Backend,
  type Tensor,
  apply,
  at,
  dequantize,
  isQuantized,
  mapTree,
} from "@moiety/core";
import type { ReadyModel } from "../load.ts";
import { type ExpertFormat, expertFormats } from "../quantize/quantization.ts";
import { tinyConfigs } from "./tiny.ts";

/** A small model with a dense layer, shared experts, and experts that blocks of 32 divide. */
export const blockConfig: JsonObject = {
  ...tinyConfigs["qwen2_moe"],
  hidden_size: 32,
  num_hidden_layers: 3,
  moe_intermediate_size: 64,
  shared_expert_intermediate_size: 40,
  initializer_range: 0.1,
};

/** A model whose experts lie `[in, out]`. */
export const gptOss: JsonObject = {
  model_type: "gpt_oss",
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  num_local_experts: 4,
  num_experts_per_tok: 2,
  vocab_size: 13,
  initializer_range: 0.1,
};

/** Backends that tests of quantised models run on. */
export const quantizedBackends: Readonly<Record<string, () => Promise<Backend>>> = {
  cpu: () => createCpu(),
  wasm: () => createWasm({ threads: 1 }),
};

/** A model whose experts hold, in floats, the numbers of another one's codes. */
export function dequantized(
  ready: ReadyModel,
  quantized: ReadyModel,
  experts: ExpertFormat,
): ReadyModel {
  const params = mapTree(quantized.params, (leaf, path) => {
    if (!isQuantized(leaf)) return leaf;
    const { shape } = at(ready.params, path) as Tensor;
    const format = expertFormats[experts];
    return dequantize(leaf.codes, leaf.scales, { format, shape, dtype: "f32" });
  });
  return { ...ready, params: params as ReadyModel["params"] };
}

/** The likeliest continuation of a sequence, each token by a call without a cache. */
export async function likeliest(
  { model, params, state }: ReadyModel,
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const { backend } = params.norm;
  const sequence = [...prompt];
  while (sequence.length < prompt.length + count) {
    const ids = backend.tensor(Int32Array.from(sequence), { shape: [1, sequence.length] });
    const { logits } = apply(model, params, state, ids, { lastOnly: true });
    const row = await logits.read();
    sequence.push(row.indexOf(Math.max(...row)));
  }
  return sequence.slice(prompt.length);
}
