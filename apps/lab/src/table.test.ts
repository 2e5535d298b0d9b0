import { describe, expect, it } from "vitest";
import { summarise } from "./summary.ts";
import { resultTable } from "./table.ts";
import { syntheticRun } from "./testing/synthetic-run.ts";
import type { SyntheticChoice } from "./testing/synthetic-run.ts";

function table(choice: SyntheticChoice = {}): string {
  const { result } = syntheticRun(choice);
  return resultTable(result, summarise(result));
}

describe("resultTable", () => {
  it("compares overall and domain by domain, with intervals and verdicts", () => {
    const text = table();
    expect(text).toMatch(
      /overall +\d\.\d{3} +\d\.\d{3} +-0\.\d{3} +-0\.\d{3} to -0\.\d{3} {2}sparse better\n/,
    );
    for (const title of ["Czech", "German", "Japanese", "Russian", "lib.*.d.ts"]) {
      expect(text).toContain(`\n  ${title} `);
    }
    expect(text).toContain("80 held-out sequences (16 for each domain)");
  });

  it("sets the router against a fixed hash of the byte, and says what came out", () => {
    const text = table({ overHash: 0.05 });
    expect(text).toMatch(/held-out bits\/byte +sparse +hash +sparse - hash +95 % interval\n/);
    expect(text).toMatch(/overall +\d\.\d{3} +\d\.\d{3} +-0\.0\d\d .* {2}sparse better\n/);
    expect(text).toContain("mixtralRouter pays: it needs 0.0");
    expect(table({ overHash: -0.1 })).toMatch(
      /mixtralRouter does not pay here: it needs 0\.\d{3} bits\/byte more than the same experts/,
    );
    expect(table({ overHash: 0 })).toContain("Whether mixtralRouter pays is not resolved");
    expect(text).toMatch(/held-out bits\/byte +hash +dense +hash - dense/);
    expect(text).toMatch(/ {2}hash, layer 1 +\d/);
  });

  it("names the rule by which a router that looks across tokens was evaluated", () => {
    expect(table({ router: "expertChoiceRouter", balance: "none" })).toContain(
      "evaluated by a causal rule (threshold): it routes by thresholds",
    );
    expect(table()).not.toContain("causal rule");
  });

  it("says not resolved where the interval contains 0", () => {
    const text = table({ advantage: 0 });
    expect(text).toMatch(/overall .* -0\.\d{3} to \+0\.\d{3} {2}not resolved\n/);
    expect(text).toContain("Not resolved: after");
  });

  it("shows imbalance, dead and starved experts of every layer", () => {
    const { result } = syntheticRun();
    const dead = summarise({
      ...result,
      models: {
        ...result.models,
        sparse: {
          ...result.models.sparse,
          evaluation: {
            bitsPerByte: result.models.sparse.evaluation?.bitsPerByte ?? [],
            load: [result.domains.map(() => [0, 0, 1, 100, 100, 100, 100, 399])],
          },
        },
      },
    });
    const text = resultTable(result, dead);
    expect(text).toMatch(/sparse, layer 0 +3\.99 +2 +3 +0\.\d\d +7 \(50 %\) +0 \(0 %\)/);
  });

  it("shows sizes, the setting and notes", () => {
    const { result } = syntheticRun();
    const text = resultTable({ ...result, notes: ["read this"] }, summarise(result));
    expect(text).toMatch(/parameters +179 k +68\.1 k +179 k/);
    expect(text).toMatch(/active for one token +68\.8 k +68\.1 k +68\.0 k/);
    expect(text).toMatch(/FLOPs for one token, forward +\d+ k +\d+ k +\d+ k/);
    expect(text).toContain("Preset small: 2 layers, hidden size 48, 8 experts of width 64");
    expect(text).toContain("Note: read this");
  });

  it("of an interrupted run has no comparison", () => {
    const text = table({ interrupted: true });
    expect(text).toContain("interrupted after 150 steps");
    expect(text).not.toContain("held-out bits/byte");
  });
});
