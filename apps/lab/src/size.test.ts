import { describe, expect, it } from "vitest";
import { denseModel, presets } from "./presets.ts";
import { shapesByPath } from "@moiety/models";
import { modelOf, sizesOf } from "./model-config.ts";
import type { ModelName } from "./result.ts";
import { newSettings } from "./settings.ts";
import { type RouterSize, modelSize, routerSize } from "./size.ts";

describe("modelSize", () => {
  const { model } = presets.anchor;

  it("counts the measured models: 1.91 M sparse, 0.36 M dense", () => {
    expect(modelSize(model, 128).parameters).toBe(1_910_496);
    expect(modelSize(denseModel(model), 128).parameters).toBe(357_888);
  });

  it("makes sparse and dense equally active, but for the router", () => {
    const sparse = modelSize(model, 128);
    const dense = modelSize(denseModel(model), 128);
    const routers = model.numHiddenLayers * model.hiddenSize * (model.numExperts - 1);
    expect(sparse.activeParameters - dense.activeParameters).toBe(routers);
    expect(dense.activeParameters).toBe(dense.parameters);
    expect(sparse.flopsPerToken - dense.flopsPerToken).toBe(2 * routers);
  });

  it("counts a router from the shapes of its leaves", () => {
    const settings = newSettings({ preset: "anchor" });
    const sizeOf = (router: string): RouterSize =>
      routerSize(modelOf("sparse", { ...settings, router }).model);
    expect(sizeOf("mixtralRouter")).toEqual({ parameters: 16 * 96, multiplied: 16 * 96 });
    expect(sizeOf("learnedTableRouter")).toEqual({ parameters: 256 * 16, multiplied: 0 });
    expect(sizeOf("hierarchicalRouter").parameters).toBe((4 + 16) * 96);
    expect(routerSize(modelOf("hash", settings).model)).toEqual({ parameters: 0, multiplied: 0 });
  });

  it("counts fewer key/value heads and an untied head", () => {
    const grouped = modelSize({ ...model, numKeyValueHeads: 2 }, 128);
    // Half of the key and value matrices and of the key norm.
    expect(modelSize(model, 128).parameters - grouped.parameters).toBe(3 * (96 * 96 + 48));
    const untied = modelSize({ ...model, tieWordEmbeddings: false }, 128);
    expect(untied.parameters - modelSize(model, 128).parameters).toBe(256 * 96);
  });
});

describe("the size of a run's models", () => {
  const settings = newSettings({});

  it.each(["sparse", "dense", "hash"] as const)("counts every number of %s", (name) => {
    const { model } = modelOf(name, settings);
    const counted = [...shapesByPath(model.shapes).values()].map((shape) =>
      shape.reduce((product, length) => product * length, 1),
    );
    const size = modelSize(sizesOf(name, settings), 64, routerSize(model));
    expect(size.parameters).toBe(counted.reduce((sum, count) => sum + count, 0));
  });

  it("is as active with a hash as with a router, but for the router", () => {
    const active = (name: ModelName): number =>
      modelSize(sizesOf(name, settings), 64, routerSize(modelOf(name, settings).model))
        .activeParameters;
    const { hiddenSize, numExperts, numHiddenLayers } = settings.model;
    expect(active("sparse") - active("hash")).toBe(hiddenSize * numExperts * numHiddenLayers);
  });
});
