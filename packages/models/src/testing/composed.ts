import {
  type Tensor,
  activate,
  add,
  attention,
  equal,
  gatherRows,
  matmul,
  mul,
  rmsNorm,
  rope,
  rotaryFrequencies,
  rotaryTable,
  roundBlocks,
  select,
  sigmoid,
  slice,
  sum,
} from "@moiety/core";
import type { GluParams } from "@moiety/experts";
import type { GroupedAttentionConfig } from "../decoder/attention-config.ts";
import { moePart } from "../decoder/moe-layer.ts";
import type { DecoderMoeParams, GroupedAttentionParams } from "../decoder/params.ts";
import type { ReadyModel } from "../load.ts";

/** Of gated networks as Qwen has them. */
const GLU = { activation: "silu", gate: { packing: "concatenated", first: "gate" } } as const;

type Product = (x: Tensor, weight: Tensor, bias?: Tensor) => Tensor;

/**
 * Logits `[T, V]` of one sequence by a model like qwen2_moe with weights in floats, made of plain
 * products: a second way beside the decoder's. `isRounded` rounds what each product reads in blocks.
 */
export function composedLogits(wide: ReadyModel, ids: Tensor, isRounded: boolean): Tensor {
  const { params, model, state } = wide;
  const { rmsNormEps: epsilon, hiddenSize } = model.config;
  const product: Product = (x, weight, bias) => {
    const y = matmul(isRounded ? roundBlocks(x) : x, weight, { transposeB: true });
    return bias ? add(y, bias) : y;
  };
  let x = gatherRows(params.embedding as Tensor, ids.reshape([ids.size]));
  for (const [index, layer] of params.layers.entries()) {
    const normed = rmsNorm(x, layer.attentionNorm, { epsilon });
    const { attention: parts } = model.config;
    const weights = layer.attention as GroupedAttentionParams;
    const heads = parts as GroupedAttentionConfig;
    const middle = add(x, attended(heads, weights, normed, product));
    const input = rmsNorm(middle, layer.ffnNorm, { epsilon });
    const config = model.config.layers[index];
    if (layer.dense) {
      x = add(middle, gated(layer.dense as GluParams, input, product));
    } else if (layer.moe && config && "moe" in config) {
      const part = moePart(config.moe, hiddenSize, 0);
      const context = { sequences: [0, ids.size] };
      const moeState = state.layers[index]?.moe ?? { router: {} };
      const routing = part.layer.route(layer.moe, moeState, input, context);
      if (routing.kind !== "token-choice") throw new Error("not by token");
      x = add(middle, mixed(layer.moe, input, routing.indices, routing.outputWeights, product));
    }
  }
  return product(rmsNorm(x, params.norm, { epsilon }), params.head as Tensor);
}

function attended(
  { headDim, ropeTheta }: GroupedAttentionConfig,
  params: GroupedAttentionParams,
  x: Tensor,
  product: Product,
): Tensor {
  const [tokens = 0] = x.shape;
  const { cos, sin } = rotaryTable(x.backend, {
    positions: Array.from({ length: tokens }, (_, position) => position),
    frequencies: rotaryFrequencies(headDim, ropeTheta),
    dtype: "f64",
  });
  const heads = (weight: unknown, bias: Tensor | undefined): Tensor =>
    product(x, weight as Tensor, bias).reshape([1, tokens, -1, headDim]);
  const found = attention(
    rope(heads(params.query, params.queryBias), cos, sin),
    rope(heads(params.key, params.keyBias), cos, sin),
    heads(params.value, params.valueBias),
    undefined,
    undefined,
    { causal: true, scale: headDim ** -0.5, position: 0 },
  );
  return product(found.reshape([tokens, -1]), params.output as Tensor);
}

function gated({ gateUp, down }: GluParams, x: Tensor, product: Product): Tensor {
  return product(activate(product(x, gateUp), GLU), down);
}

/** Every expert sees every token; those that were not chosen weigh nothing. */
function mixed(
  { experts, shared }: DecoderMoeParams,
  x: Tensor,
  indices: Tensor,
  weights: Tensor,
  product: Product,
): Tensor {
  const bank = experts as unknown as GluParams;
  const one = (stack: Tensor, expert: number): Tensor => {
    const [, rows = 0, columns = 0] = stack.shape;
    const box = slice(stack, { starts: [expert, 0, 0], sizes: [1, rows, columns] });
    return box.reshape([rows, columns]);
  };
  const branch = shared as unknown as { readonly ffn: GluParams; readonly gate: Tensor };
  const gate = sigmoid(matmul(x, branch.gate, { transposeB: true }));
  let output = mul(gated(branch.ffn, x, product), gate);
  for (let expert = 0; expert < (bank.down.shape[0] ?? 0); expert++) {
    const network = { gateUp: one(bank.gateUp, expert), down: one(bank.down, expert) };
    const share = sum(select(equal(indices, expert), weights, 0), [1], true);
    output = add(output, mul(gated(network, x, product), share));
  }
  return output;
}
