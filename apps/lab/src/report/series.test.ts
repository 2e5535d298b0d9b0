import { describe, expect, it } from "vitest";
import { syntheticRun } from "../testing/synthetic-run.ts";
import { imbalanceChart, loadHistory, lossChart, stepsAPlace } from "./series.ts";

describe("lossChart", () => {
  it("shows each step of a short run, held-out figures where they were measured", () => {
    const { records } = syntheticRun({ steps: 12 });
    const chart = lossChart(records);
    expect(chart.steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(chart.series.map(({ label }) => label)).toEqual([
      "sparse, training",
      "dense, training",
      "hash, training",
      "sparse, held out",
      "dense, held out",
      "hash, held out",
    ]);
    const sparse = records.filter(({ model }) => model === "sparse");
    expect(chart.series[0]?.values).toEqual(sparse.map(({ bitsPerByte }) => bitsPerByte));
    expect(chart.series[3]?.values).toEqual(
      sparse.map(({ heldOutBitsPerByte }) => heldOutBitsPerByte ?? null),
    );
  });

  it("averages neighbouring steps of a long run and ends with its last step", () => {
    const { records } = syntheticRun({ steps: 1007 });
    const chart = lossChart(records);
    expect(stepsAPlace(1007)).toBe(10);
    expect(chart.steps).toHaveLength(101);
    expect(chart.steps.at(-1)).toBe(1007);
    const first = records.filter(({ model, step }) => model === "dense" && step <= 10);
    const mean = first.reduce((sum, { bitsPerByte }) => sum + bitsPerByte, 0) / 10;
    expect(chart.series[1]?.values[0]).toBeCloseTo(mean, 12);
  });
});

describe("load over time", () => {
  const { records } = syntheticRun({ steps: 100, balance: "none" });

  it("has a line for each layer", () => {
    const chart = imbalanceChart(records);
    expect(chart.series.map(({ label }) => label)).toEqual(["layer 0", "layer 1"]);
    expect(chart.series[0]?.values.at(-1)).toBeGreaterThan(chart.series[0]?.values[0] ?? 99);
  });

  it("gives shares of the sparse model that sum to 1 at every place", () => {
    const history = loadHistory(records, 1, 30);
    expect(history.shares).toHaveLength(8);
    expect(history.steps.length).toBeLessThanOrEqual(30);
    for (const place of history.steps.keys()) {
      const total = history.shares.reduce((sum, row) => sum + (row[place] ?? 0), 0);
      expect(total).toBeCloseTo(1, 12);
    }
  });

  it("is empty without records", () => {
    expect(imbalanceChart([])).toMatchObject({ steps: [], series: [] });
    expect(loadHistory([], 0, 30)).toEqual({ steps: [], shares: [] });
  });
});
