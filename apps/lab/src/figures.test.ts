import { describe, expect, it } from "vitest";
import { type RunFigures, figuresOf } from "./figures.ts";
import type { RunFolder } from "./folder.ts";
import { summarise } from "./summary.ts";
import { type SyntheticChoice, syntheticRun } from "./testing/synthetic-run.ts";

const folder: RunFolder = {
  path: "/runs/a",
  settings: "/runs/a/run.json",
  metrics: "/runs/a/metrics.jsonl",
  report: "/runs/a/report.html",
  checkpoint: "/runs/a/checkpoint",
  model: "/runs/a/model",
  denseModel: "/runs/a/model-dense",
  hashModel: "/runs/a/model-hash",
};

function figures(choice: SyntheticChoice): RunFigures {
  const { result } = syntheticRun(choice);
  const found = figuresOf(result, summarise(result), folder);
  // What is told is what JSON keeps.
  expect(JSON.parse(JSON.stringify(found))).toEqual(found);
  return found;
}

describe("figuresOf", () => {
  it("tells of all models, of each pair, and of the load", () => {
    const found = figures({ steps: 10 });
    expect(found).toMatchObject({
      folder: "/runs/a",
      report: "/runs/a/report.html",
      ending: "finished",
      models: { sparse: { folder: "/runs/a/model" }, hash: { folder: "/runs/a/model-hash" } },
    });
    expect(found.comparisons.map(({ models }) => models.join(" "))).toEqual([
      "sparse dense",
      "sparse hash",
      "hash dense",
    ]);
    const [first] = found.comparisons;
    const { sparse, dense } = found.models;
    expect(first?.first).toBe(sparse.heldOutBitsPerByte);
    expect(first?.difference).toBeCloseTo(
      (sparse.heldOutBitsPerByte ?? 0) - (dense.heldOutBitsPerByte ?? 0),
    );
    expect(found.load.map(({ layer }) => layer)).toEqual(
      Array.from({ length: found.settings.model.numHiddenLayers }, (_, layer) => layer),
    );
  });

  it("has no comparison where there was none", () => {
    const found = figures({ steps: 10, interrupted: true });
    expect(found).toMatchObject({ ending: "interrupted", comparisons: [], load: [] });
    expect(found.models.dense).toMatchObject({ heldOutBitsPerByte: null, expertsPerToken: null });
  });
});
