import { createContext, runInContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { summarise } from "../summary.ts";
import { syntheticRun } from "../testing/synthetic-run.ts";
import type { SyntheticChoice } from "../testing/synthetic-run.ts";
import { clientScript } from "./client-script.ts";
import { reportPage } from "./report.ts";

function page(choice: SyntheticChoice = {}): string {
  const { result, records } = syntheticRun(choice);
  return reportPage(result, summarise(result), records);
}

describe("reportPage", () => {
  it("asks the network for nothing", () => {
    const text = page();
    expect(text).toContain("default-src 'none'");
    expect(text).not.toMatch(/<(link|img|iframe|base)\b|<script[^>]+src|@import|url\(/i);
  });

  it("has every part", () => {
    const text = page();
    for (const id of ["summary", "loss", "languages", "load", "experts", "setting"]) {
      expect(text).toContain(`id="${id}"`);
    }
    for (const chart of ["loss-chart", "imbalance-chart"]) {
      expect(text).toContain(`<div class="chart" id="${chart}">`);
    }
    expect(text.match(/<table class="heat">/g)).toHaveLength(2);
    expect(text.match(/<svg class="history"/g)).toHaveLength(2);
    expect(text).toContain("prefers-color-scheme: dark");
  });

  it("escapes names of domains everywhere", () => {
    const text = page({ titles: ["<b>bold</b>", '"quoted"', "c"] });
    expect(text).not.toContain("<b>bold");
    expect(text).toContain("&lt;b&gt;bold&lt;/b&gt;");
    expect(text).toContain("&quot;quoted&quot;");
  });

  it("says whether sparsity pays, or that it is not resolved", () => {
    expect(page({ advantage: 0.2 })).toContain("Sparsity pays: after 300 steps");
    expect(page({ advantage: -0.2 })).toContain("Sparsity does not pay here");
    expect(page({ advantage: 0 })).toContain("Not resolved: after 300 steps");
  });

  it("sets the router against a fixed hash of the byte", () => {
    const text = page({ overHash: -0.2 });
    expect(text).toContain("mixtralRouter does not pay here");
    expect(text).toContain("← sparse better · hash better →");
    expect(text).toContain("← hash better · dense better →");
    expect(text).toContain('<div class="hash">');
    expect(page({ overHash: 0.2 })).toContain("mixtralRouter pays");
  });

  it("names router, balance and the rule of evaluation", () => {
    const text = page({ router: "expertChoiceRouter", balance: "none" });
    expect(text).toContain("evaluated by a causal rule (threshold)");
    expect(text).toContain("expertChoiceRouter: each expert takes its best tokens");
    expect(text).toContain("every expert gets as many");
    expect(page()).not.toContain("causal rule");
  });

  it("explains what runs without a balance show", () => {
    expect(page()).not.toContain("starve");
    const text = page({ balance: "none" });
    expect(text).toContain("Nothing balances the load in this run");
    expect(text).toMatch(/Here \d+ of 16 experts ended below a tenth of an even share/);
  });

  it("says of an interrupted run what it is, and shows its curves", () => {
    const text = page({ interrupted: true });
    expect(text).toContain("interrupted after 150 steps");
    expect(text).toContain('id="loss-chart"');
    expect(text).not.toContain('id="languages"');
  });

  it("stands for a run that was interrupted before its first step", () => {
    const { result } = syntheticRun({ steps: 1, interrupted: true });
    expect(result.stepsDone).toBe(0);
    expect(reportPage(result, null, [])).toContain("interrupted after 0 steps");
  });
});

describe("clientScript", () => {
  it("draws the page's charts, and again when the colours change", () => {
    const { result, records } = syntheticRun({ steps: 20 });
    const text = reportPage(result, summarise(result), records);
    const data = /id="chart-data">(.*?)<\/script>/s.exec(text)?.[1] ?? "";
    const drawn: { labels: string[]; lengths: number[] }[] = [];
    const listeners: (() => void)[] = [];
    let destroyed = 0;
    class Plot {
      constructor(options: { series: { label: string }[] }, columns: number[][]) {
        drawn.push({
          labels: options.series.map(({ label }) => label),
          lengths: columns.map(({ length }) => length),
        });
      }
      destroy(): void {
        destroyed += 1;
      }
    }
    const dark = {
      addEventListener: (_: string, listener: () => void) => listeners.push(listener),
    };
    const context = createContext({
      uPlot: Plot,
      document: { getElementById: () => ({ textContent: data, clientWidth: 800 }) },
      getComputedStyle: () => ({ getPropertyValue: () => " #123456 " }),
      window: { matchMedia: () => dark, addEventListener: () => {} },
    });
    runInContext(clientScript, context);
    expect(drawn).toHaveLength(2);
    expect(drawn[0]?.labels).toEqual([
      "step",
      "sparse, training",
      "dense, training",
      "hash, training",
      "sparse, held out",
      "dense, held out",
      "hash, held out",
    ]);
    expect(drawn[0]?.lengths).toEqual([20, 20, 20, 20, 20, 20, 20]);
    for (const listener of listeners) listener();
    expect(drawn).toHaveLength(4);
    expect(destroyed).toBe(2);
  });
});
