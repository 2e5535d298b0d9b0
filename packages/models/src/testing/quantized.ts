import createCpu from "@moiety/backend-cpu";
import createWasm from "@moiety/backend-wasm";
import type { JsonObject } from "@moiety/checkpoints";
import {
  type Backend,
  type FloatDType,
  apply,
  dequantize,
  isQuantized,
  isTensor,
  leavesOf,
  mapTree,
  storedFormat,
  valueShape,
} from "@moiety/core";
import type { DecoderConfig } from "../decoder/config.ts";
import { decoder } from "../decoder/decoder.ts";
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

/** Small models all of whose matrices blocks of 32 divide, by their family. */
export const wholeBlockConfigs: Readonly<Record<string, JsonObject>> = {
  olmoe: {
    ...tinyConfigs["olmoe"],
    hidden_size: 32,
    intermediate_size: 32,
    initializer_range: 0.1,
  },
  qwen2_moe: {
    ...blockConfig,
    intermediate_size: 32,
    num_hidden_layers: 2,
    shared_expert_intermediate_size: 32,
  },
  deepseek_v3: {
    ...tinyConfigs["deepseek_v3"],
    hidden_size: 32,
    intermediate_size: 64,
    moe_intermediate_size: 32,
    n_shared_experts: 2,
    q_lora_rank: 32,
    kv_lora_rank: 32,
    v_head_dim: 8,
    initializer_range: 0.1,
  },
  gpt_oss: gptOss,
};

/** Backends that tests of quantised models run on. */
export const quantizedBackends: Readonly<Record<string, () => Promise<Backend>>> = {
  cpu: () => createCpu(),
  wasm: () => createWasm({ threads: 1 }),
};

/** A model whose matrices hold, in floats, the numbers of another one's codes. */
export function dequantized(
  quantized: ReadyModel,
  held: ExpertFormat,
  dtype: FloatDType = "f32",
): ReadyModel {
  const format = storedFormat(expertFormats[held]);
  const params = mapTree(quantized.params, (leaf) => {
    if (!isQuantized(leaf)) return leaf;
    const shape = valueShape(leaf.codes.shape, format);
    return dequantize(leaf.codes, leaf.scales, { format, shape, dtype });
  });
  const model = decoder(inFloats(quantized.model.config));
  return { ...quantized, model, params: params as ReadyModel["params"] };
}

function inFloats({ format: _, ...config }: DecoderConfig): DecoderConfig {
  return {
    ...config,
    layers: config.layers.map((layer) =>
      "moe" in layer ? { ...layer, moe: { ...layer.moe, format: undefined } } : layer,
    ),
  };
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

/** Every tensor of a model by its path. */
export async function contentOf({ params, state }: ReadyModel): Promise<Record<string, unknown>> {
  const content: Record<string, unknown> = {};
  for (const { path, leaf } of leavesOf({ params, state })) {
    const tensors = isTensor(leaf) ? { value: leaf } : { ...leaf };
    for (const [name, tensor] of Object.entries(tensors)) {
      const { shape, dtype } = tensor;
      content[`${path}.${name}`] = { shape, dtype, data: (await tensor.read()).join() };
    }
  }
  return content;
}
