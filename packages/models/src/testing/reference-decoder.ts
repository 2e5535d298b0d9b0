import { toHost } from "@moiety/checkpoints";
import { type Backend, type Tensor, apply } from "@moiety/core";
import { moePart } from "../decoder/moe-layer.ts";
import type { BlockParams, BlockState } from "../decoder/params.ts";
import type { ModelSource, ReadyModel } from "../load.ts";

/** Numbers by rows. */
export type Rows = readonly (readonly number[])[];

/** The weights of a folder by their names. */
export interface Weights {
  matrix(name: string): Rows;
  vector(name: string): readonly number[];
  has(name: string): boolean;
}

/** What the layers of a family's code do, in words of that code. */
export interface Recipe {
  readonly layerNorm?: boolean | undefined;
  /** Names of a layer's norms, and whether they are of what comes out. */
  readonly norms?: readonly [first: string, second: string] | undefined;
  readonly isAfter?: boolean | undefined;
  readonly epsilon: number;
  /** Self-attention on the rows of one sequence. */
  attention(weights: Weights, prefix: string, x: Rows, layer: number): Rows;
}

/**
 * Logits of one sequence, computed with loops over numbers from the tensors of a saved folder, all
 * but the experts' blocks: a second way beside the decoder's, for families without recordings.
 */
export async function referenceLogits(
  recipe: Recipe,
  { source, ready, backend }: { source: ModelSource; ready: ReadyModel; backend: Backend },
  ids: readonly number[],
): Promise<Rows> {
  const weights = await readWeights(source);
  const [first, second] = recipe.norms ?? ["input_layernorm", "post_attention_layernorm"];
  const embedding = weights.matrix("model.embed_tokens.weight");
  let hidden: Rows = ids.map((id) => embedding[id] ?? []);
  for (const [layer, params] of ready.params.layers.entries()) {
    const prefix = `model.layers.${layer}.`;
    const part = async (name: string, run: (x: Rows) => Promise<Rows>): Promise<void> => {
      const norm = (x: Rows): Rows => normRows(recipe, weights, `${prefix}${name}`, x);
      const output = recipe.isAfter ? norm(await run(hidden)) : await run(norm(hidden));
      hidden = hidden.map((row, at) => sum(row, output[at]));
    };
    await part(first, async (x) => recipe.attention(weights, `${prefix}self_attn.`, x, layer));
    await part(second, async (x) =>
      params.moe
        ? experts({ ready, backend, layer, params, state: ready.state.layers[layer] ?? {} }, x)
        : dense(weights, `${prefix}mlp.`, x),
    );
  }
  const head = weights.has("lm_head.weight") ? "lm_head.weight" : "model.embed_tokens.weight";
  const normed = normRows(recipe, weights, "model.norm", hidden);
  const bias = weights.has("lm_head.bias") ? weights.vector("lm_head.bias") : undefined;
  return normed.map((row) => sum(product(weights.matrix(head), row), bias));
}

/** `W x + b` of every row, by the projection's name. */
export function linear(weights: Weights, name: string, x: Rows): Rows {
  const matrix = weights.matrix(`${name}.weight`);
  const bias = weights.has(`${name}.bias`) ? weights.vector(`${name}.bias`) : undefined;
  return x.map((row) => sum(product(matrix, row), bias));
}

/** RMSNorm of one row. */
export function rms(row: readonly number[], weight: readonly number[], epsilon: number): number[] {
  const mean = row.reduce((total, value) => total + value * value, 0) / row.length;
  return row.map((value, at) => (value / Math.sqrt(mean + epsilon)) * (weight[at] ?? 0));
}

/** A row in so many equal parts. */
export function parts(row: readonly number[], count: number): number[][] {
  const width = row.length / count;
  return Array.from({ length: count }, (_, at) => row.slice(at * width, (at + 1) * width));
}

/** Causal attention of one head: its queries, keys and values by token. */
export function attendHead(
  [queries, keys, values]: readonly [Rows, Rows, Rows],
  { scale, window = Infinity }: { scale: number; window?: number | undefined },
): number[][] {
  return queries.map((query, at) => {
    const seen = keys.map((_, key) => key).filter((key) => key <= at && key > at - window);
    const powers = seen.map((key) => Math.exp(scale * dot(query, keys[key])));
    const total = powers.reduce((all, power) => all + power, 0);
    return (values[0] ?? []).map((_, column) =>
      seen.reduce(
        (all, key, index) => all + ((powers[index] ?? 0) / total) * (values[key]?.[column] ?? 0),
        0,
      ),
    );
  });
}

/** Turns a head's leading elements by the angles at its position, as complex numbers. */
export function rotate(
  head: readonly number[],
  position: number,
  frequencies: readonly number[],
  { interleaved = false, factor = 1 }: { interleaved?: boolean; factor?: number } = {},
): number[] {
  const turned = [...head];
  const half = frequencies.length;
  for (const [pair, frequency] of frequencies.entries()) {
    const [a, b] = interleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + half];
    const [real, imaginary] = [head[a] ?? 0, head[b] ?? 0];
    const [cos, sin] = [Math.cos(position * frequency), Math.sin(position * frequency)];
    turned[a] = factor * (real * cos - imaginary * sin);
    turned[b] = factor * (real * sin + imaginary * cos);
  }
  return turned;
}

function normRows(recipe: Recipe, weights: Weights, name: string, x: Rows): Rows {
  const weight = weights.vector(`${name}.weight`);
  if (!recipe.layerNorm) return x.map((row) => rms(row, weight, recipe.epsilon));
  const bias = weights.vector(`${name}.bias`);
  return x.map((row) => {
    const mean = row.reduce((total, value) => total + value, 0) / row.length;
    const variance = row.reduce((total, value) => total + (value - mean) ** 2, 0) / row.length;
    return row.map(
      (value, at) =>
        ((value - mean) / Math.sqrt(variance + recipe.epsilon)) * (weight[at] ?? 0) +
        (bias[at] ?? 0),
    );
  });
}

function dense(weights: Weights, prefix: string, x: Rows): Rows {
  const [gate, up] = [
    linear(weights, `${prefix}gate_proj`, x),
    linear(weights, `${prefix}up_proj`, x),
  ];
  const inner = gate.map((row, at) =>
    row.map((value, column) => (value / (1 + Math.exp(-value))) * (up[at]?.[column] ?? 0)),
  );
  return linear(weights, `${prefix}down_proj`, inner);
}

/** The block of a layer, which truth cases of its own hold. */
async function experts(
  {
    ready,
    backend,
    layer,
    params,
    state,
  }: {
    ready: ReadyModel;
    backend: Backend;
    layer: number;
    params: BlockParams;
    state: BlockState;
  },
  x: Rows,
): Promise<Rows> {
  const { hiddenSize, initializerRange, layers } = ready.model.config;
  const config = layers[layer];
  if (!config || !("moe" in config) || !params.moe || !state.moe) throw new Error("no experts");
  const part = moePart(config.moe, hiddenSize, initializerRange);
  const tensor: Tensor = backend.tensor(Float64Array.from(x.flat()), {
    shape: [x.length, hiddenSize],
  });
  const { output } = apply(part.layer, params.moe, state.moe, tensor, { sequences: [0, x.length] });
  return parts([...(await output.read())], x.length);
}

async function readWeights(source: ModelSource): Promise<Weights> {
  const values = new Map<string, { shape: readonly number[]; data: number[] }>();
  for (const name of source.tensors.keys()) {
    const { shape, data } = toHost(await source.read(name), "f64");
    values.set(name, { shape, data: [...data] });
  }
  const of = (name: string): { shape: readonly number[]; data: number[] } => {
    const found = values.get(name);
    if (!found) throw new Error(`the folder has no ${name}`);
    return found;
  };
  return {
    has: (name) => values.has(name),
    vector: (name) => of(name).data,
    matrix: (name) => parts(of(name).data, of(name).shape[0] ?? 1),
  };
}

function product(matrix: Rows, vector: readonly number[]): number[] {
  return matrix.map((row) => dot(row, vector));
}

function dot(a: readonly number[], b: readonly number[] | undefined): number {
  return a.reduce((total, value, at) => total + value * (b?.[at] ?? 0), 0);
}

function sum(a: readonly number[], b: readonly number[] | undefined): number[] {
  return b ? a.map((value, at) => value + (b[at] ?? 0)) : [...a];
}
