import create from "@moiety/backend-cpu";
import type { JsonObject } from "@moiety/checkpoints";
import {
  type Backend,
  type Tensor,
  apply,
  foldIn,
  hostNormal,
  isTensor,
  mapTree,
  randomKey,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { initModel } from "./init-model.ts";
import { type ModelSource, loadModel } from "./load.ts";
import {
  type Recipe,
  type Rows,
  type Weights,
  attendHead,
  linear,
  parts,
  referenceLogits,
  rms,
  rotate,
} from "./testing/reference-decoder.ts";
import { saveToMemory } from "./testing/tiny.ts";

const sizes: JsonObject = {
  hidden_size: 8,
  intermediate_size: 6,
  max_position_embeddings: 32,
  moe_intermediate_size: 5,
  num_attention_heads: 4,
  num_experts: 4,
  num_experts_per_tok: 2,
  num_hidden_layers: 3,
  num_key_value_heads: 2,
  num_local_experts: 4,
  vocab_size: 13,
};

/** How a family's code treats the heads of grouped queries. */
interface GroupedCode {
  readonly heads?: number;
  readonly keyHeads?: number;
  readonly frequencies: readonly number[];
  readonly interleaved?: boolean;
  readonly factor?: number;
  readonly norms?: readonly [query: string, key: string];
  readonly norm?: "head" | "projection" | "after";
  readonly epsilon: number;
  readonly scale?: number;
  readonly window?: (layer: number) => number | undefined;
}

/** Llama's attention with what families change in it. */
function groupedCode(code: GroupedCode): Recipe["attention"] {
  const { heads = 4, keyHeads = 2, norms = ["q_norm", "k_norm"], norm, epsilon } = code;
  return (weights, prefix, x, layer) => {
    const project = (name: string, count: number): number[][][] =>
      linear(weights, `${prefix}${name}`, x).map((row) => parts(row, count));
    const placed = (name: string, count: number, normName: string): number[][][] => {
      const weight = norm ? weights.vector(`${prefix}${normName}.weight`) : [];
      const normed = (part: readonly number[]): number[] => rms(part, weight, epsilon);
      return linear(weights, `${prefix}${name}`, x).map((row, position) => {
        const split = parts(norm === "projection" ? normed(row) : [...row], count);
        const before = norm === "head" ? split.map(normed) : split;
        const turned = before.map((head) => rotate(head, position, code.frequencies, code));
        return norm === "after" ? turned.map(normed) : turned;
      });
    };
    const [queries, keys] = [
      placed("q_proj", heads, norms[0]),
      placed("k_proj", keyHeads, norms[1]),
    ];
    return mixed(weights, prefix, [queries, keys, project("v_proj", keyHeads)], {
      scale: code.scale ?? ((queries[0] ?? [])[0] ?? []).length ** -0.5,
      window: code.window?.(layer),
    });
  };
}

/** Attention of all heads, beside each other through the output projection. */
function mixed(
  weights: Weights,
  prefix: string,
  [queries, keys, values]: readonly [number[][][], number[][][], number[][][]],
  options: { scale: number; window?: number | undefined },
): Rows {
  const heads = queries[0]?.length ?? 0;
  const group = heads / (keys[0]?.length ?? 1);
  const of = (tokens: number[][][], head: number): Rows => tokens.map((token) => token[head] ?? []);
  const outputs = Array.from({ length: heads }, (_, head) => {
    const shared = Math.floor(head / group);
    return attendHead([of(queries, head), of(keys, shared), of(values, shared)], options);
  });
  const joined = queries.map((_, at) => outputs.flatMap((head) => head[at] ?? []));
  return linear(weights, `${prefix}o_proj`, joined);
}

/** DeepSeek's attention. */
function latentCode(code: {
  readonly frequencies: readonly number[];
  readonly interleaved: boolean;
  readonly scale: number;
  readonly heads: number;
  readonly plain: number;
  readonly rank: number;
}): Recipe["attention"] {
  const { heads, plain, rank, frequencies, interleaved, scale } = code;
  return (weights, prefix, x) => {
    const normed = (rows: Rows, name: string): Rows =>
      rows.map((row) => rms(row, weights.vector(`${prefix}${name}.weight`), 1e-6));
    const turn = (part: readonly number[], position: number): number[] =>
      rotate(part, position, frequencies, { interleaved });
    const through = weights.has(`${prefix}q_proj.weight`)
      ? linear(weights, `${prefix}q_proj`, x)
      : linear(
          weights,
          `${prefix}q_b_proj`,
          normed(linear(weights, `${prefix}q_a_proj`, x), "q_a_layernorm"),
        );
    const queries = through.map((row, position) =>
      parts(row, heads).map((head) => [
        ...head.slice(0, plain),
        ...turn(head.slice(plain), position),
      ]),
    );
    const compressed = linear(weights, `${prefix}kv_a_proj_with_mqa`, x);
    const latent = normed(
      compressed.map((row) => row.slice(0, rank)),
      "kv_a_layernorm",
    );
    const expanded = linear(weights, `${prefix}kv_b_proj`, latent).map((row) => parts(row, heads));
    const keys = expanded.map((token, position) => {
      const shared = turn((compressed[position] ?? []).slice(rank), position);
      return token.map((head) => [...head.slice(0, plain), ...shared]);
    });
    const values = expanded.map((token) => token.map((head) => head.slice(plain)));
    return mixed(weights, prefix, [queries, keys, values], { scale });
  };
}

const plainFrequencies = (width: number, theta: number): number[] =>
  Array.from({ length: width / 2 }, (_, pair) => theta ** ((-2 * pair) / width));

/** The factor by which YaRN's code scales attention. */
const yarnScale = (factor: number, mscale: number): number => 0.1 * mscale * Math.log(factor) + 1;

interface Whole {
  readonly config: JsonObject;
  readonly recipe: Recipe;
}

const latentSizes: JsonObject = {
  kv_lora_rank: 5,
  n_routed_experts: 4,
  n_shared_experts: 1,
  num_key_value_heads: 4,
  qk_nope_head_dim: 3,
  qk_rope_head_dim: 4,
  v_head_dim: 2,
};

const longrope: JsonObject = {
  rope_type: "longrope",
  long_factor: [2, 3],
  long_mscale: 1.5,
  original_max_position_embeddings: 9,
  short_factor: [1.25, 1.5],
  short_mscale: 1.1,
};

const phimoe = (limit: number, factors: readonly number[], mscale: number): Whole => ({
  config: {
    ...sizes,
    model_type: "phimoe",
    attention_bias: true,
    head_dim: null,
    hidden_size: 16,
    lm_head_bias: true,
    rope_scaling: { ...longrope, original_max_position_embeddings: limit },
    sliding_window: 5,
  },
  recipe: {
    layerNorm: true,
    epsilon: 1e-5,
    attention: groupedCode({
      frequencies: plainFrequencies(4, 1e6).map((each, pair) => each / (factors[pair] ?? 1)),
      factor: mscale,
      epsilon: 0,
      window: () => 5,
    }),
  },
});

const whole: Readonly<Record<string, Whole>> = {
  "phimoe, short": phimoe(11, [1.25, 1.5], 1.1),
  "phimoe, long": phimoe(10, [2, 3], 1.5),
  ernie4_5_moe: {
    config: {
      ...sizes,
      model_type: "ernie4_5_moe",
      hidden_size: 16,
      moe_k: 2,
      moe_layer_interval: 2,
      moe_num_experts: 4,
      moe_num_shared_experts: 1,
      use_bias: true,
    },
    recipe: {
      epsilon: 1e-5,
      attention: groupedCode({
        frequencies: plainFrequencies(4, 500000),
        interleaved: true,
        epsilon: 0,
      }),
    },
  },
  dots1: {
    config: {
      ...sizes,
      model_type: "dots1",
      attention_bias: true,
      first_k_dense_replace: 1,
      head_dim: 6,
      max_window_layers: 1,
      n_routed_experts: 4,
      n_shared_experts: 1,
      sliding_window: 3,
    },
    recipe: {
      epsilon: 1e-6,
      attention: groupedCode({
        frequencies: plainFrequencies(6, 10000),
        norm: "head",
        epsilon: 1e-6,
        window: (layer) => (layer >= 1 ? 3 : undefined),
      }),
    },
  },
  hunyuan_v1_moe: {
    config: {
      ...sizes,
      model_type: "hunyuan_v1_moe",
      attention_bias: true,
      head_dim: 6,
      moe_topk: 2,
      rope_scaling: { type: "dynamic", alpha: 50, beta_fast: 32, factor: 1, mscale: 1 },
    },
    recipe: {
      epsilon: 1e-5,
      attention: groupedCode({
        frequencies: plainFrequencies(6, 10000 * 50 ** (6 / 4)),
        norms: ["query_layernorm", "key_layernorm"],
        norm: "after",
        epsilon: 1e-5,
      }),
    },
  },
  flex_olmo: {
    config: { ...sizes, model_type: "flex_olmo", attention_bias: true, hidden_size: 16 },
    recipe: {
      epsilon: 1e-6,
      norms: ["post_attention_layernorm", "post_feedforward_layernorm"],
      isAfter: true,
      attention: groupedCode({
        frequencies: plainFrequencies(4, 500000),
        norm: "projection",
        epsilon: 1e-6,
      }),
    },
  },
  minimax_m2: {
    config: { ...sizes, model_type: "minimax_m2", head_dim: 6, rotary_dim: 4 },
    recipe: {
      epsilon: 1e-6,
      attention: groupedCode({
        frequencies: plainFrequencies(4, 5000000),
        norm: "projection",
        epsilon: 1e-6,
      }),
    },
  },
  "mixtral with a window": {
    config: { ...sizes, model_type: "mixtral", hidden_size: 16, sliding_window: 4 },
    recipe: {
      epsilon: 1e-5,
      attention: groupedCode({
        frequencies: plainFrequencies(4, 1e6),
        epsilon: 0,
        window: () => 4,
      }),
    },
  },
  granitemoeshared: {
    config: {
      ...sizes,
      model_type: "granitemoeshared",
      attention_multiplier: 0.3,
      hidden_size: 16,
      shared_intermediate_size: 7,
    },
    recipe: {
      epsilon: 1e-6,
      attention: groupedCode({
        frequencies: plainFrequencies(4, 10000),
        scale: 0.3,
        epsilon: 0,
      }),
    },
  },
  solar_open: {
    config: {
      ...sizes,
      model_type: "solar_open",
      attention_bias: true,
      head_dim: 6,
      n_routed_experts: 4,
    },
    recipe: {
      epsilon: 1e-5,
      attention: groupedCode({ frequencies: plainFrequencies(6, 1e6), epsilon: 0 }),
    },
  },
  glm4_moe_lite: {
    config: {
      ...sizes,
      ...latentSizes,
      model_type: "glm4_moe_lite",
      mlp_layer_types: ["sparse", "dense", "sparse"],
      q_lora_rank: 7,
    },
    recipe: {
      epsilon: 1e-5,
      attention: latentCode({
        frequencies: plainFrequencies(4, 10000),
        interleaved: true,
        scale: 7 ** -0.5,
        heads: 4,
        plain: 3,
        rank: 5,
      }),
    },
  },
  kimi_k2: {
    config: {
      ...sizes,
      ...latentSizes,
      model_type: "kimi_k2",
      first_k_dense_replace: 1,
      n_group: 1,
      q_lora_rank: 7,
      rope_scaling: {
        type: "yarn",
        beta_fast: 1,
        beta_slow: 1,
        factor: 4,
        mscale: 1,
        mscale_all_dim: 1,
        original_max_position_embeddings: 8,
      },
      topk_group: 1,
    },
    recipe: {
      epsilon: 1e-6,
      attention: latentCode({
        frequencies: [1, 0.01 / 4],
        interleaved: true,
        scale: 7 ** -0.5 * yarnScale(4, 1) ** 2,
        heads: 4,
        plain: 3,
        rank: 5,
      }),
    },
  },
  "deepseek_v2 with a latent of queries": {
    config: {
      ...sizes,
      ...latentSizes,
      model_type: "deepseek_v2",
      attention_bias: true,
      first_k_dense_replace: 1,
      q_lora_rank: 7,
    },
    recipe: {
      epsilon: 1e-6,
      attention: latentCode({
        frequencies: plainFrequencies(4, 10000),
        interleaved: true,
        scale: 7 ** -0.5,
        heads: 4,
        plain: 3,
        rank: 5,
      }),
    },
  },
  // The first pair stays as it is; the second turns seldom, and is stretched by the whole factor.
  "deepseek_v2 with YaRN": {
    config: {
      ...sizes,
      ...latentSizes,
      model_type: "deepseek_v2",
      q_lora_rank: null,
      rope_scaling: {
        type: "yarn",
        beta_fast: 32,
        beta_slow: 31,
        factor: 4,
        mscale: 0.7,
        mscale_all_dim: 0.7,
        original_max_position_embeddings: 8,
      },
    },
    recipe: {
      epsilon: 1e-6,
      attention: latentCode({
        frequencies: [1, 0.01 / 4],
        interleaved: true,
        scale: 7 ** -0.5 * yarnScale(4, 0.7) ** 2,
        heads: 4,
        plain: 3,
        rank: 5,
      }),
    },
  },
  "deepseek_v3 without interleaving": {
    config: {
      ...sizes,
      ...latentSizes,
      model_type: "deepseek_v3",
      n_group: 1,
      q_lora_rank: null,
      rope_interleave: false,
      topk_group: 1,
    },
    recipe: {
      epsilon: 1e-6,
      attention: latentCode({
        frequencies: plainFrequencies(4, 10000),
        interleaved: false,
        scale: 7 ** -0.5,
        heads: 4,
        plain: 3,
        rank: 5,
      }),
    },
  },
};

describe("whole models without recordings", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await create();
  });
  afterAll(() => backend.dispose());

  const ids = [3, 1, 12, 0, 7, 7, 2, 9, 5, 11, 4];

  /** Random numbers in every leaf, in norms and biases too, for which files start with 1 and 0. */
  const drawn = <T>(tree: T, seed: number): T => {
    let index = 0;
    return mapTree(tree, (leaf, path) => {
      if (!isTensor(leaf)) return leaf;
      const values = hostNormal(foldIn(randomKey(seed), index++), leaf.size);
      const centre = path.endsWith("Norm") || path === "norm" ? 1 : 0;
      const data = Float32Array.from(values, (value) => centre + 0.4 * value);
      return backend.tensor(data, { shape: leaf.shape, dtype: "f64" });
    }) as T;
  };

  it.each(Object.entries(whole))("%s, as loops over the file's numbers have it", async (_, one) => {
    const fresh = initModel(one.config, randomKey(1), { backend, dtype: "f64" });
    const filled = { ...fresh, params: drawn(fresh.params, 2), state: drawn(fresh.state, 3) };
    const { source } = await saveToMemory(filled);
    const ready = await loadModel(source, { backend, dtype: "f64" });
    const tensor: Tensor = backend.tensor(Int32Array.from(ids), { shape: [1, ids.length] });
    const actual = await apply(ready.model, ready.params, ready.state, tensor).logits.read();
    const expected = await referenceLogits(one.recipe, { source, ready, backend }, ids);
    const flat = expected.flat();
    expect(actual).toHaveLength(flat.length);
    const largest = Math.max(...flat.map(Math.abs));
    expect(largest).toBeGreaterThan(0.1);
    for (const [at, value] of flat.entries()) {
      expect(Math.abs((actual[at] ?? Number.NaN) - value)).toBeLessThan(1e-11 * largest);
    }
  });

  it("are loaded without the layers behind the last", async () => {
    const config = { ...sizes, ...latentSizes, model_type: "deepseek_v3", n_group: 1 };
    const last = { ...config, topk_group: 1, num_hidden_layers: 4, num_nextn_predict_layers: 1 };
    const { source } = await saveToMemory(initModel(last, randomKey(1), { backend }));
    const shorter = (next: number): ModelSource => {
      const value = { ...source.config.value, num_hidden_layers: 3 };
      return {
        ...source,
        config: { ...source.config, value: { ...value, num_nextn_predict_layers: next } },
      };
    };
    const ready = await loadModel(shorter(1), { backend });
    expect(ready.params.layers).toHaveLength(3);
    await expect(loadModel(shorter(0), { backend })).rejects.toThrow(
      /unexpected: model\.layers\.3/,
    );
  });

  it("fails when the reference turns by other angles", async () => {
    const { config, recipe } = whole["mixtral with a window"] as Whole;
    const fresh = initModel(config, randomKey(1), { backend, dtype: "f64" });
    const { source } = await saveToMemory(fresh);
    const ready = await loadModel(source, { backend, dtype: "f64" });
    const tensor = backend.tensor(Int32Array.from(ids), { shape: [1, ids.length] });
    const actual = await apply(ready.model, ready.params, ready.state, tensor).logits.read();
    const attention = groupedCode({ frequencies: plainFrequencies(4, 1e4), epsilon: 0 });
    const other = await referenceLogits({ ...recipe, attention }, { source, ready, backend }, ids);
    const off = other.flat().map((value, at) => Math.abs(value - (actual[at] ?? 0)));
    expect(Math.max(...off)).toBeGreaterThan(1e-6);
  });
});
