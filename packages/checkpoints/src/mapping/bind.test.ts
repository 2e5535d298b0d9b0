import { ConfigError, type Shape, ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { bindRules } from "./bind.ts";
import type { RuleSizes, TensorRule } from "./rule.ts";

const GATE_UP: TensorRule = {
  path: "layers.{layer}.experts.gateUp",
  names: ["l.{layer}.e.{expert}.gate", "l.{layer}.e.{expert}.up"],
};
const SIZES: RuleSizes = { layer: [0, 1], expert: 2 };

const bind = (
  rules: readonly TensorRule[],
  shapes: Record<string, Shape>,
  sizes: RuleSizes = SIZES,
): ReturnType<typeof bindRules> => bindRules(rules, sizes, new Map(Object.entries(shapes)));

describe("bindRules", () => {
  it("stacks experts, concatenates names and repeats layers", () => {
    const shape = [2, 6, 4];
    const bindings = bind([GATE_UP], {
      "layers.0.experts.gateUp": shape,
      "layers.1.experts.gateUp": shape,
    });
    expect(bindings.map(({ path }) => path)).toEqual([
      "layers.0.experts.gateUp",
      "layers.1.experts.gateUp",
    ]);
    expect(bindings[1]?.parts).toEqual([
      { name: "l.1.e.0.gate", shape: [3, 4], start: 0, size: 12 },
      { name: "l.1.e.0.up", shape: [3, 4], start: 12, size: 12 },
      { name: "l.1.e.1.gate", shape: [3, 4], start: 24, size: 12 },
      { name: "l.1.e.1.up", shape: [3, 4], start: 36, size: 12 },
    ]);
  });

  it("splits rows unequally, and transposes each part", () => {
    const rule: TensorRule = { path: "qkv", names: ["q", "k"], split: [4, 2], transpose: true };
    expect(bind([rule], { qkv: [6, 3] })[0]?.parts).toEqual([
      { name: "q", shape: [3, 4], start: 0, size: 12 },
      { name: "k", shape: [3, 2], start: 12, size: 6 },
    ]);
    const stacked: TensorRule = { path: "all", names: ["all"], transpose: true };
    expect(bind([stacked], { all: [5, 6, 3] })[0]?.parts[0]?.shape).toEqual([5, 3, 6]);
  });

  it("finds all experts in one tensor, stacked or joined, and concatenates expert by expert", () => {
    const stacked: TensorRule = { path: "all", names: ["gate", "up"], stacked: true };
    const pieces = { count: 2, step: 24 };
    expect(bind([stacked], { all: [2, 6, 4] })[0]?.parts).toEqual([
      { name: "gate", shape: [2, 3, 4], start: 0, size: 24, pieces },
      { name: "up", shape: [2, 3, 4], start: 12, size: 24, pieces },
    ]);
    const joined: TensorRule = { ...stacked, axes: "joined" };
    expect(bind([joined], { all: [2, 6, 4] })[0]?.parts[1]).toEqual({
      name: "up",
      shape: [6, 4],
      start: 12,
      size: 24,
      pieces,
    });
    const transposed: TensorRule = { ...joined, names: ["down"], transpose: true };
    expect(bind([transposed], { all: [2, 4, 3] })[0]?.parts[0]?.shape).toEqual([6, 4]);
  });

  it("finds a vector in one row", () => {
    const row: TensorRule = { path: "bias", names: ["bias"], axes: "leadingOne" };
    expect(bind([row], { bias: [5] })[0]?.parts).toEqual([
      { name: "bias", shape: [1, 5], start: 0, size: 5 },
    ]);
  });

  it("takes scalars and empty shapes", () => {
    expect(bind([{ path: "s", names: ["s"] }], { s: [] })[0]?.parts).toEqual([
      { name: "s", shape: [], start: 0, size: 1 },
    ]);
    expect(bind([{ path: "s", names: ["a", "b"] }], { s: [0, 3] })[0]?.parts).toHaveLength(2);
  });

  it("leaves out rules for paths that the tree does not hold", () => {
    const sparse: TensorRule = { path: "layers.{layer}.router", names: ["l.{layer}.router"] };
    const dense: TensorRule = { path: "layers.{layer}.mlp", names: ["l.{layer}.mlp"] };
    const bindings = bind([sparse, dense], { "layers.0.mlp": [2], "layers.1.router": [3] });
    expect(bindings.map(({ parts }) => parts[0]?.name)).toEqual(["l.1.router", "l.0.mlp"]);
  });

  it("keeps rules to their layers, so that layers may differ in their names", () => {
    const path = "layers.{layer}.norm";
    const rules: TensorRule[] = [
      { path, names: ["l.{layer}.first"], layers: [0] },
      { path, names: ["l.{layer}.other"], layers: [1] },
    ];
    const bindings = bind(rules, { "layers.0.norm": [2], "layers.1.norm": [2] });
    expect(bindings.map(({ parts }) => parts[0]?.name)).toEqual(["l.0.first", "l.1.other"]);
  });

  it("refuses paths without a rule, or with two", () => {
    expect(() => bind([GATE_UP], { head: [2] })).toThrow(ConfigError);
    expect(() => bind([GATE_UP], { head: [2] })).toThrow("no rule says where to find head");
    const rule: TensorRule = { path: "a", names: ["a"] };
    expect(() => bind([rule, rule], { a: [1] })).toThrow("two rules are for the path a");
  });

  it.each<[string, TensorRule]>([
    ["has no names", { path: "a", names: [] }],
    ["has {head}; there are {layer} and {expert}", { path: "a", names: ["a.{head}"] }],
    ["has {expert} in its path", { path: "a.{expert}", names: ["a.{expert}"] }],
    ["must have {layer} both", { path: "a", names: ["a.{layer}"] }],
    ["must have {layer} both", { path: "a.{layer}", names: ["a.{layer}", "b"] }],
    ["must have {expert} in all", { path: "a", names: ["a.{expert}", "b"] }],
    ["has 1 names but 2 sizes", { path: "a", names: ["a"], split: [1, 2] }],
    ["has names for each expert", { path: "a", names: ["a.{expert}"], stacked: true }],
    ["is for layer 7; the layers are 0, 1", { path: "{layer}", names: ["{layer}"], layers: [7] }],
  ])("refuses a rule that %s", (why, rule) => {
    expect(() => bind([rule], {})).toThrow(ConfigError);
    expect(() => bind([rule], {})).toThrow(why);
  });

  it("refuses rules whose sizes are not given", () => {
    expect(() => bind([GATE_UP], {}, { expert: 2 })).toThrow("give sizes.layer");
    expect(() => bind([GATE_UP], {}, { layer: [0] })).toThrow("give sizes.expert");
    expect(() => bind([GATE_UP], {}, { layer: [0], expert: 0 })).toThrow("at least 1");
  });

  it.each<[string, TensorRule, Shape]>([
    ["stacks 2 experts on axis 0", { path: "a", names: ["a.{expert}"] }, [3, 4]],
    ["divides its rows by 2", { path: "a", names: ["a", "b"] }, [3, 4]],
    ["splits 4 rows", { path: "a", names: ["a", "b"], split: [1, 3] }, [5]],
    ["concatenates along axis 0", { path: "a", names: ["a", "b"] }, []],
    ["has experts on axis 0", { path: "a", names: ["a"], stacked: true }, [4]],
    ["joins two axes", { path: "a", names: ["a"], axes: "joined" }, [4]],
    ["transposes two axes", { path: "a", names: ["a"], transpose: true }, [3]],
    [
      "transposes two axes",
      { path: "a", names: ["a"], transpose: true, stacked: true },
      [2, 3, 4, 5],
    ],
  ])("refuses a shape whose rule %s", (why, rule, shape) => {
    expect(() => bind([rule], { a: shape })).toThrow(ShapeError);
    expect(() => bind([rule], { a: shape })).toThrow(why);
  });
});
