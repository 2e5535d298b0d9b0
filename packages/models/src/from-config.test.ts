import { fileURLToPath } from "node:url";
import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { type JsonObject, jsonDocument } from "@moiety/checkpoints";
import { openCheckpoint } from "@moiety/checkpoints/node";
import { ConfigError, type MoietyError, UnsupportedError, randomKey } from "@moiety/core";
import { completeConfig } from "./complete-config.ts";
import { causalDecoder } from "./decoder/causal.ts";
import type { DecoderConfig } from "./decoder/config.ts";
import { families, familyOf } from "./families/index.ts";
import { blockFromConfig, modelFromConfig } from "./from-config.ts";
import { tinyBlocks } from "./testing/tiny-blocks.ts";
import { tinyConfigs } from "./testing/tiny.ts";
import { shapesByPath } from "./tree.ts";

function failure(change: JsonObject, family = "qwen2_moe"): MoietyError {
  const { document } = completeConfig({ ...tinyConfigs[family], ...change });
  try {
    modelFromConfig(document);
  } catch (error) {
    return error as MoietyError;
  }
  throw new Error("nothing was thrown");
}

const decoderOf = (family: string): DecoderConfig =>
  modelFromConfig({ ...tinyConfigs[family], model_type: family }).config.decoder;

describe("what is not built is refused by name", () => {
  it.each([
    [{ rope_scaling: { rope_type: "longrope" } }, /rope_scaling\.rope_type is "longrope"/],
    [{ rope_scaling: { type: "su" } }, /rope_scaling\.rope_type is "su"/],
    [{ rope_scaling: { type: "linear", factor: 2, alpha: 3 } }, /rope_scaling\.alpha is 3/],
    [{ use_sliding_window: true }, /use_sliding_window is true/],
    [{ layer_types: ["full_attention", "sliding_attention"] }, /layer_types/],
    [{ hidden_act: "tanh" }, /hidden_act is "tanh"/],
    [{ quantization_config: { bits: 4 } }, /quantization_config/],
  ] as [JsonObject, RegExp][])("%j", (change, message) => {
    const error = failure(change);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(message);
  });

  it("families", () => {
    expect(() => familyOf("gpt2")).toThrow(/"gpt2" is not built; there are .*olmoe/);
    expect(() => familyOf(undefined)).toThrow(UnsupportedError);
    expect(() => familyOf("toString")).toThrow(UnsupportedError);
    expect(() => modelFromConfig({ model_type: "dbrx" })).toThrow(/only the block is built/);
  });

  it("what a later version may write", () => {
    const error = failure({ moiety: { temperature: 2 } });
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toMatch(/moiety\.temperature/);
  });
});

describe("values that make no sense are refused by key", () => {
  it.each([
    [{ hidden_size: 0 }, "hidden_size"],
    [{ hidden_size: 7 }, "hidden_size"],
    [{ num_experts: "8" }, "num_experts"],
    [{ num_experts_per_tok: 5 }, "topK"],
    [{ num_key_value_heads: 3 }, "numKeyValueHeads"],
    [{ norm_topk_prob: 1 }, "norm_topk_prob"],
    [{ mlp_only_layers: 3 }, "mlp_only_layers"],
    [{ rms_norm_eps: null }, "rms_norm_eps"],
    [{ rope_scaling: [] }, "rope_scaling"],
    [{ num_hidden_layers: 1.5 }, "num_hidden_layers"],
    [{ moiety: { selection_bias: "yes" } }, "moiety.selection_bias"],
    [{ moiety: { losses: [{ kind: "entropy", coefficient: 1 }] } }, "losses.kind"],
    [{ moiety: { losses: [{ kind: "zLoss" }] } }, "coefficient"],
  ] as [JsonObject, string][])("%j", (change, key) => {
    expect(failure(change)).toMatchObject({ code: "CONFIG", key });
  });
});

it("reads the keys of transformers 5", () => {
  const { rope_theta: _, ...values } = completeConfig(tinyConfigs["olmoe"] ?? {}).document.value;
  const document = jsonDocument({
    ...values,
    rope_parameters: { rope_theta: 5000, rope_type: "default" },
  });
  expect(modelFromConfig(document).config.decoder.attention.ropeTheta).toBe(5000);
});

it("assumes what the configuration class assumes", () => {
  const { decoder } = modelFromConfig(jsonDocument({ model_type: "olmoe" })).config;
  expect(decoder).toMatchObject({ vocabSize: 50304, hiddenSize: 2048, rmsNormEps: 1e-5 });
  expect(decoder.attention).toMatchObject({ numKeyValueHeads: 16, headDim: 128 });
  expect(decoder.layers).toHaveLength(16);
  expect(decoder.losses).toEqual([{ kind: "huggingFaceBalance", coefficient: 0.01 }]);
});

it("gives experts to the layers that the configuration names", () => {
  const { layers } = modelFromConfig({
    ...tinyConfigs["qwen3_moe"],
    num_hidden_layers: 6,
    decoder_sparse_step: 2,
    mlp_only_layers: [3],
  }).config.decoder;
  expect(layers.map((layer) => "moe" in layer)).toEqual([false, true, false, false, false, true]);
});

it("spells out in a new configuration what a class would work out", () => {
  const { value } = completeConfig({ model_type: "qwen3_moe", num_attention_heads: 16 }).document;
  expect(value).toMatchObject({ head_dim: 128, architectures: ["Qwen3MoeForCausalLM"] });
  const olmoe = completeConfig({ model_type: "olmoe", num_attention_heads: 8 }).document.value;
  expect(olmoe).toMatchObject({ num_key_value_heads: 8, eos_token_id: null, pad_token_id: null });
});

it.each(["deepseek_v3", "gpt_oss"])(
  "writes the keys of %s that its class writes",
  async (family) => {
    const folder = fileURLToPath(new URL(`testdata/${family}/`, import.meta.url));
    const { config: recorded, generationConfig, close } = await openCheckpoint(folder);
    await close();
    const { document, generation } = completeConfig({ model_type: family, num_hidden_layers: 2 });
    const keys = (value: object | undefined): string[] => Object.keys(value ?? {}).sort();
    // Files leave out an end of the text that is not there, but for classes that have one.
    const own = keys(document.value).filter(
      (key) => key in recorded.value || key !== "eos_token_id",
    );
    expect(own).toEqual(keys(recorded.value));
    expect(keys(generation.value)).toEqual(keys(generationConfig?.value));
    expect([...document.floats]).toEqual(expect.arrayContaining([...recorded.floats]));
  },
);

it("reads what layers of gpt-oss see, and what those of dots.llm1 do", () => {
  const windows = (values: JsonObject): unknown[] =>
    modelFromConfig({ ...values, num_hidden_layers: 4 }).config.decoder.layers.map(
      ({ attention }) => attention?.window,
    );
  const oss = { model_type: "gpt_oss", sliding_window: 9 };
  expect(windows(oss)).toEqual([9, undefined, 9, undefined]);
  const types = ["full", "full", "sliding", "full"].map((type) => `${type}_attention`);
  expect(windows({ ...oss, layer_types: types })).toEqual([undefined, undefined, 9, undefined]);
  const dots = { model_type: "dots1", n_routed_experts: 4, num_experts_per_tok: 1 };
  expect(windows({ ...dots, max_window_layers: 3 })).toEqual([
    undefined,
    undefined,
    undefined,
    4096,
  ]);
  expect(windows({ ...dots, max_window_layers: 3, sliding_window: null })).toEqual(
    Array.from({ length: 4 }),
  );
  expect(() => windows({ ...oss, layer_types: ["chunked_attention"] })).toThrow(UnsupportedError);
  expect(() => windows({ ...oss, layer_types: types.slice(1) })).toThrow(/layer_types\[3\]/);
});

it("keeps a layer's own attention beside other routers and losses", () => {
  const { layers } = modelFromConfig({
    model_type: "gpt_oss",
    num_hidden_layers: 2,
    moiety: { router: "switchRouter", losses: [] },
  }).config.decoder;
  expect(layers.map((layer) => layer.attention?.window)).toEqual([128, undefined]);
  expect(causalDecoder({ ...decoderOf("gpt_oss"), layers }).layers[0]?.attention?.window).toBe(128);
});

it("gives experts to the layers of ERNIE between a first and a last", () => {
  const sparse = (values: JsonObject): boolean[] =>
    modelFromConfig({
      model_type: "ernie4_5_moe",
      num_hidden_layers: 6,
      ...values,
    }).config.decoder.layers.map((layer) => "moe" in layer);
  expect(sparse({})).toEqual([false, true, true, true, true, true]);
  const some = { moe_layer_start_index: 2, moe_layer_interval: 2 };
  expect(sparse(some)).toEqual([false, false, false, true, false, true]);
  expect(sparse({ moe_layer_end_index: 3 })).toEqual([false, true, true, true, false, false]);
});

it("names what whole models of other families are not built for", () => {
  const failing: readonly (readonly [string, JsonObject, RegExp])[] = [
    ["deepseek_v3", { num_key_value_heads: 2 }, /num_key_value_heads is 2/],
    ["deepseek_v3", { scoring_func: "softmax" }, /scoring_func/],
    ["deepseek_v2", { mlp_bias: true }, /mlp_bias/],
    ["deepseek_v2", { moe_layer_freq: 2 }, /moe_layer_freq/],
    ["hunyuan_v1_moe", { use_cla: true }, /use_cla/],
    ["minimax_m2", { qk_norm_type: "per_head" }, /qk_norm_type/],
    ["minimax_m2", { num_key_value_heads: 4, rotary_dim: 5 }, /rotaryDim/],
    [
      "phimoe",
      { rope_scaling: { type: "longrope", short_factor: [1] } },
      /short_mscale|long_factor|original_max/,
    ],
    ["gpt_oss", { sliding_window: 0 }, /sliding_window/],
  ];
  for (const [family, change, message] of failing) {
    const sized = { ...tinyBlocks(family), model_type: family, num_attention_heads: 4, ...change };
    expect(() => modelFromConfig(sized), family).toThrow(message);
  }
});

it("takes other losses", () => {
  const losses = [{ kind: "switchBalance", coefficient: 0.5, per: "sequence" }];
  const { config } = modelFromConfig({ ...tinyConfigs["olmoe"], moiety: { losses } });
  expect(config.decoder.losses).toEqual(losses);
});

it("builds the block of every family, each leaf with its place in a state dict", () => {
  for (const family of Object.values(families)) {
    const block = blockFromConfig(family, tinyBlocks(family.modelType));
    const paths = [...shapesByPath(block.shapes).keys()];
    const ruled = block.rules.map(({ path }) => path);
    expect(ruled).toEqual(expect.arrayContaining(paths));
  }
});

describe("a configuration means what the release that wrote it computed", () => {
  // Both experts of the best group score below 0 with their bias, so that a 0 elsewhere beats them.
  it.each([
    ["4.57.6", [2]],
    ["v4.57.6", [2]],
    ["5.18.0", [0]],
    [undefined, [0]],
  ])("groups of deepseek_v3 in release %s", async (release, chosen) => {
    const { layer } = blockFromConfig(familyOf("deepseek_v3"), {
      hidden_size: 1,
      moe_intermediate_size: 1,
      n_routed_experts: 4,
      num_experts_per_tok: 1,
      n_group: 2,
      topk_group: 1,
      ...(release !== undefined && { transformers_version: release }),
    });
    const backend = await create();
    const { params, state } = layer.init(randomKey(1), { backend });
    const weight = backend.tensor([2, 1, 0, 0], { shape: [4, 1] });
    const selectionBias = backend.tensor([-2, -2, -3, -3]);
    const routing = layer.route(
      { ...params, router: { weight } },
      { router: { ...state.router, selectionBias } },
      backend.tensor([1], { shape: [1, 1] }),
    );
    expect(routing.kind === "token-choice" && [...(await routing.indices.read())]).toEqual(chosen);
  });
});
