import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { type JsonObject, jsonDocument } from "@moiety/checkpoints";
import { ConfigError, type MoietyError, UnsupportedError, randomKey } from "@moiety/core";
import { completeConfig } from "./complete-config.ts";
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

describe("what is not built is refused by name", () => {
  it.each([
    [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, /rope_scaling\.rope_type is "yarn"/],
    [{ rope_scaling: { type: "linear", factor: 2 } }, /rope_scaling\.rope_type is "linear"/],
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
    expect(() => modelFromConfig({ model_type: "deepseek_v3" })).toThrow(/only the block is built/);
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
