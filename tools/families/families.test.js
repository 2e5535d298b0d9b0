import { describe, expect, it } from "vitest";
import { families } from "@moiety/models";
import { root } from "../process.js";
import { checkFamilies } from "./check.js";
import { familiesPage } from "./page.js";
import { cellsOf } from "./table.js";

describe("the page of families", () => {
  it("is what the literals say", async () => {
    expect(await checkFamilies(root)).toEqual([]);
  });

  it("is found stale where it is not there", async () => {
    const [violation] = await checkFamilies("tools");
    expect(violation).toMatch(/docs\/families\.md is stale; npm run docs/);
  });

  it("has a row for every family, and a cell in every column", () => {
    const rows = familiesPage()
      .split("\n")
      .filter((line) => line.startsWith("| "));
    expect(rows).toHaveLength(Object.keys(families).length + 2);
    const columns = rows.map((row) => row.split(" | ").length);
    expect(new Set(columns)).toEqual(new Set([9]));
  });

  it("says what a block is", () => {
    const block = {
      spec: {
        experts: 8,
        topK: 2,
        softcap: 30,
        score: "sigmoid",
        bias: true,
        groups: { count: 4, topK: 2, score: { top: 2 }, fill: "zero" },
        renormalize: { epsilon: 1e-20 },
        scale: 2.5,
        site: "input",
      },
      moe: {
        router: {},
        expert: {
          activation: "silu",
          alpha: 1.702,
          bias: true,
          clamp: { limit: 7 },
          gated: true,
          layout: { packing: "interleaved", first: "gate" },
          transposed: true,
          upOffset: 1,
        },
        around: [
          { kind: "special", experts: [{ kind: "identity", count: 4 }] },
          { kind: "outputBias" },
          { kind: "factor", factor: 1.4 },
        ],
        shared: { merge: "gate" },
      },
      losses: [{ name: "load_balancing_loss", coefficient: 0.01 }],
    };
    // A block is much more than the table reads.
    expect(
      cellsOf(/** @type {import("./table.js").Block} */ (/** @type {unknown} */ (block))),
    ).toEqual([
      "30·tanh(l/30), sigmoid",
      "scores + bias, k = 2 in 2 of 4 groups by their 2 best, 0 outside",
      "Σ + 1e-20",
      "2.5, 1.4 on outputs, on inputs",
      "behind a sigmoid gate",
      "silu(α = 1.702), gated, interleaved, up + 1, clamped at 7 before the activation, biases, " +
        "[E, in, out]; 4 × identity; one bias after combining",
      "load_balancing_loss · 0.01",
    ]);
  });
});
