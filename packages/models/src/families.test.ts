import create from "@moiety/backend-cpu";
import { type JsonObject, bindRules } from "@moiety/checkpoints";
import {
  type Backend,
  ConfigError,
  type RouteSpec,
  UnsupportedError,
  apply,
  isTensor,
  leavesOf,
  randomKey,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfigReader } from "./config-reader.ts";
import type { MoeConfig } from "./decoder/config.ts";
import { families, familyOf } from "./families/index.ts";
import { readerOf } from "./family-reader.ts";
import { type ConfiguredBlock, blockFromConfig } from "./from-config.ts";
import { blockRules, modelRules } from "./rules.ts";
import { tinyBlocks } from "./testing/tiny-blocks.ts";
import { shapesByPath } from "./tree.ts";

const names = Object.keys(families);

const tiny = (name: string, config: JsonObject = {}): ConfiguredBlock =>
  blockFromConfig(familyOf(name), { ...tinyBlocks(name), ...config });

/** A family's spec with some keys of its configuration. */
function specOf(name: string, config: JsonObject): RouteSpec {
  const { spec } = tiny(name, config);
  return spec ?? expect.fail(`${name} has no spec`);
}

const readConfig = (name: string, config: JsonObject): ConfigReader =>
  readerOf(familyOf(name), { ...tinyBlocks(name), ...config });

function moeOf(name: string, config: JsonObject): MoeConfig {
  return tiny(name, config).moe;
}

describe.each(names)("the literal of %s", (name) => {
  const family = familyOf(name);

  it("is filed under its model type, and is short", () => {
    expect(family.modelType).toBe(name);
    expect(family.block.prefix).toMatch(/\{layer\}.*\.$/);
  });

  it("says where every leaf stands, under either set of names", () => {
    const { rules, sizes, shapes } = tiny(name);
    const leaves = shapesByPath(shapes);
    const paths = [...leaves.keys()].sort();
    for (const fused of [false, true]) {
      const bindings = bindRules(blockRules(family, fused), sizes, leaves);
      expect(bindings.map(({ path }) => path).sort()).toEqual(paths);
      const tensors = bindings.flatMap(({ parts }) => parts.map((part) => part.name));
      expect(new Set(tensors).size, "no tensor serves two leaves").toBe(tensors.length);
    }
    expect(rules).toEqual(blockRules(family));
  });

  it("puts its prefix before the names of whole checkpoints", () => {
    const inLayers = modelRules(family).filter(({ path }) => path.includes(".moe."));
    expect(inLayers.length).toBeGreaterThan(0);
    for (const rule of inLayers) {
      for (const tensor of rule.names) expect(tensor.startsWith(family.block.prefix)).toBe(true);
    }
  });
});

describe("a block of every family", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await create();
  });
  afterAll(() => backend.dispose());

  it.each(names)("of %s runs, and every parameter has a gradient", (name) => {
    const { layer, hiddenSize, experts } = tiny(name);
    const tokens = 6;
    const { params, state } = layer.init(randomKey(5), { backend, dtype: "f64" });
    const x = backend.tensor(
      Float64Array.from({ length: tokens * hiddenSize }, (_, at) => Math.sin(at * 1.7) * 2),
      { shape: [tokens, hiddenSize] },
    );
    const context = {
      sequences: [0, 3, tokens],
      tokenIds: backend.tensor(Int32Array.of(1, 2, 3, 4, 5, 6), { shape: [tokens] }),
    };
    const { output, load, routing } = apply(layer, params, state, x, context);
    expect(output.shape).toEqual([tokens, hiddenSize]);
    expect(load.shape).toEqual([experts]);
    expect(routing.experts).toBe(experts);
    const { grads } = valueAndGrad((traced: typeof params) =>
      sum(apply(layer, traced, state, x, context).output),
    )(params);
    const shapesOf = (tree: unknown): Map<string, readonly number[]> =>
      new Map(
        leavesOf(tree).flatMap(({ path, leaf }) => (isTensor(leaf) ? [[path, leaf.shape]] : [])),
      );
    expect(shapesOf(grads)).toEqual(shapesOf(params));
  });
});

describe("keys of a configuration", () => {
  it("name groups that are filled as the release that wrote them does", () => {
    const grouped = { n_group: 4, topk_group: 2, n_routed_experts: 8, num_experts_per_tok: 2 };
    for (const name of ["deepseek_v3", "dots1", "glm4_moe"]) {
      const fill = (version?: string): unknown =>
        specOf(name, { ...grouped, ...(version && { transformers_version: version }) }).groups
          ?.fill;
      expect([fill(), fill("5.18.0"), fill("4.57.6")]).toEqual(["mask", "mask", "zero"]);
    }
    // These are not in release 4.
    expect(specOf("solar_open", { ...grouped, transformers_version: "4.57.6" }).groups?.fill).toBe(
      "mask",
    );
    const greedy = { ...grouped, topk_method: "group_limited_greedy" };
    expect(specOf("deepseek_v2", greedy).groups).toEqual({
      count: 4,
      topK: 2,
      score: "max",
      fill: "zero",
    });
    expect(specOf("deepseek_v2", grouped).groups).toBeUndefined();
    expect(specOf("mistral4", grouped)).toMatchObject({
      score: "softmax",
      groups: { score: { top: 2 }, fill: "zero" },
    });
  });

  it("say what weights are divided by and multiplied with", () => {
    const second = specOf("deepseek_v2", { norm_topk_prob: true, routed_scaling_factor: 16 });
    expect([second.renormalize, second.scale]).toEqual([undefined, 16]);
    expect(specOf("deepseek_v3", { norm_topk_prob: false }).renormalize).toBeUndefined();
    expect(specOf("afmoe", { route_scale: 1.7 })).toMatchObject({
      renormalize: { epsilon: 1e-20 },
      scale: 1.7,
    });
    expect(specOf("lfm2_moe", {}).renormalize).toEqual({ epsilon: 1e-6 });
    expect(specOf("lfm2_moe", { norm_topk_prob: false }).renormalize).toBeUndefined();
    expect(specOf("ernie4_5_moe", { moe_norm_min: 1e-9 }).renormalize).toEqual({
      epsilon: 1e-9,
      guard: "max",
    });
    expect(specOf("minimax_m2", {}).renormalize).toEqual({});
    expect(specOf("jamba", {}).renormalize).toBeUndefined();
    expect(specOf("qwen3_vl_moe", { norm_topk_prob: false }).renormalize).toEqual({});
    expect(specOf("qwen3_next", { norm_topk_prob: false }).renormalize).toBeUndefined();
    expect(specOf("step3_text", { norm_expert_weight: true }).renormalize).toEqual({});
    expect(specOf("mimo_v2_flash", { routed_scaling_factor: null }).scale).toBe(1);
    expect(specOf("kimi_linear", { moe_renormalize: false }).renormalize).toBeUndefined();
  });

  it("scale what the experts give together, where the family's code does", () => {
    const factor = (value: number): unknown => [{ kind: "factor", factor: value }];
    expect(moeOf("laguna", { moe_routed_scaling_factor: 1.4 }).around).toEqual(factor(1.4));
    expect(moeOf("minimax_m3_vl", { routed_scaling_factor: 2 }).around).toEqual(factor(2));
    expect(moeOf("step3p7", { moe_router_scaling_factor: 3 }).around).toEqual(factor(3));
    expect(moeOf("laguna", { moe_routed_scaling_factor: 1 }).around).toBeUndefined();
  });

  it("limit logits and halves", () => {
    expect(moeOf("laguna", { moe_router_logit_softcapping: 30 }).router).toMatchObject({
      logitSoftcap: 30,
    });
    expect(moeOf("laguna", { moe_router_logit_softcapping: 0 }).router).toMatchObject({
      logitSoftcap: undefined,
    });
    const clamp = { limit: 3 };
    const glm = moeOf("glm5_next", { swiglu_limit: 3 });
    expect([glm.expert.clamp, glm.shared?.clamp]).toEqual([clamp, clamp]);
    const hunyuan = moeOf("hy_v4", { swiglu_limit: 3 });
    expect([hunyuan.expert.clamp, hunyuan.shared?.clamp]).toEqual([clamp, undefined]);
    expect(moeOf("minimax_m3_vl", { swiglu_limit: 3 }).expert).toMatchObject({
      clamp,
      alpha: 1.702,
      upOffset: 1,
    });
  });

  it("may be lists, one for each layer", () => {
    const step = familyOf("step3p7");
    const limits = { swiglu_limits: [null, 0, 7], swiglu_limits_shared: [0, 16, 0] };
    const reader = (layer: number): MoeConfig =>
      step.block.moe(readConfig("step3p7", limits), layer);
    const clamps = [0, 1, 2].map((layer) => {
      const { expert, shared } = reader(layer);
      return [expert.clamp, shared?.clamp];
    });
    expect(clamps).toEqual([
      [undefined, undefined],
      [undefined, { limit: 16, when: "after" }],
      [{ limit: 7, when: "after" }, undefined],
    ]);
    const lists = { num_experts: [4, 8], moe_topk: [1, 2] };
    const specs = [0, 1].map((layer) => {
      const { router } = familyOf("hunyuan_v1_moe").block.moe(
        readConfig("hunyuan_v1_moe", lists),
        layer,
      );
      return "spec" in router ? [router.spec.experts, router.spec.topK] : [];
    });
    expect(specs).toEqual([
      [4, 1],
      [8, 2],
    ]);
    const short = (): unknown =>
      familyOf("hunyuan_v1_moe").block.moe(readConfig("hunyuan_v1_moe", lists), 2);
    expect(short).toThrow(ConfigError);
    expect(short).toThrow(/num_experts\[2\]/);
  });

  it("say which experts are shared, and how wide they are", () => {
    const width = (name: string, config: JsonObject): number | undefined =>
      moeOf(name, config).shared?.intermediateSize;
    const size = { moe_intermediate_size: 5 };
    expect(width("deepseek_v3", { ...size, n_shared_experts: 2 })).toBe(10);
    expect(width("dots1", { ...size, n_shared_experts: null })).toBeUndefined();
    expect(width("ernie4_5_moe", { ...size, moe_num_shared_experts: 0 })).toBeUndefined();
    expect(width("exaone_moe", { ...size, num_shared_experts: 3 })).toBe(15);
    expect(width("granitemoeshared", { shared_intermediate_size: 0 })).toBeUndefined();
    expect(width("granitemoehybrid", { shared_intermediate_size: 6 })).toBe(6);
    expect(width("mimo_v2_flash", { ...size, n_shared_experts: 1 })).toBeUndefined();
    expect(width("laguna", { shared_expert_intermediate_size: 7 })).toBe(7);
  });

  it("give ERNIE's experts biases as the release that wrote them has", () => {
    const biases = (version: string): unknown => {
      const config = { use_bias: true, moe_num_shared_experts: 1, transformers_version: version };
      const { expert, shared } = moeOf("ernie4_5_moe", config);
      return [expert.bias, shared?.bias];
    };
    expect(biases("4.57.6")).toEqual([true, true]);
    expect(biases("5.18.0")).toEqual([false, true]);
  });

  it("stand in the section of the language model, or under other names", () => {
    const inner = { num_local_experts: 4, num_experts_per_tok: 3, intermediate_size: 8 };
    const nested = blockFromConfig(familyOf("llama4"), {
      model_type: "llama4",
      text_config: { ...inner, hidden_size: 8 },
      vision_config: { hidden_size: 16 },
    });
    expect([nested.hiddenSize, nested.experts, nested.spec?.topK]).toEqual([8, 4, 3]);
    const { experts, topK } = specOf("step3p7", {
      n_routed_experts: 9,
      moe_num_experts: 4,
      moe_top_k: 1,
    });
    expect([experts, topK], "a key goes before its other name").toEqual([9, 2]);
    const hub = blockFromConfig(familyOf("step3p7"), {
      text_config: { moe_num_experts: 4, moe_top_k: 1, share_expert_dims: 3, hidden_size: 8 },
    });
    expect([hub.experts, hub.spec?.topK, hub.moe.shared?.intermediateSize]).toEqual([4, 1, 3]);
  });

  it("are refused by name where they are not built or make no sense", () => {
    const failing: readonly (readonly [
      string,
      JsonObject,
      typeof ConfigError | typeof UnsupportedError,
      RegExp,
    ])[] = [
      ["deepseek_v2", { topk_method: "noaux_tc" }, UnsupportedError, /noaux_tc/],
      ["laguna", { moe_apply_router_weight_on_input: true }, UnsupportedError, /on_input/],
      ["hy_v3", { mlp_bias: true }, UnsupportedError, /mlp_bias/],
      ["kimi_linear", { moe_router_activation_func: "softmax" }, UnsupportedError, /softmax/],
      ["jamba", { num_experts_per_tok: 99 }, ConfigError, /topK/],
      ["glm4_moe", { n_group: 3, topk_group: 1 }, ConfigError, /groups/],
      ["llama4", { num_local_experts: 0 }, ConfigError, /num_local_experts is 0/],
      ["afmoe", { route_scale: "1" }, ConfigError, /route_scale/],
      ["dots1", { n_routed_experts: null }, ConfigError, /n_routed_experts is null/],
      ["ernie4_5_moe", { moe_num_shared_experts: -1 }, ConfigError, /shared_experts/],
      ["step3p7", { swiglu_limits: ["7"] }, ConfigError, /swiglu_limits\[0\]/],
    ];
    for (const [name, config, kind, message] of failing) {
      expect(() => tiny(name, config), name).toThrow(kind);
      expect(() => tiny(name, config), name).toThrow(message);
    }
  });
});
