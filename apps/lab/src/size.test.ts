import { describe, expect, it } from "vitest";
import { denseModel, presets } from "./presets.ts";
import { modelSize } from "./size.ts";

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

  it("counts fewer key/value heads and an untied head", () => {
    const grouped = modelSize({ ...model, numKeyValueHeads: 2 }, 128);
    // Half of the key and value matrices and of the key norm.
    expect(modelSize(model, 128).parameters - grouped.parameters).toBe(3 * (96 * 96 + 48));
    const untied = modelSize({ ...model, tieWordEmbeddings: false }, 128);
    expect(untied.parameters - modelSize(model, 128).parameters).toBe(256 * 96);
  });
});
