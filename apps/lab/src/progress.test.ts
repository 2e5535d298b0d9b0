import { describe, expect, it } from "vitest";
import { startProgress } from "./progress.ts";
import type { ProgressOutput } from "./progress.ts";
import { syntheticRun } from "./testing/synthetic-run.ts";

const { records: all } = syntheticRun({ steps: 40 });

interface Watched {
  readonly written: string[];
  /** Runs steps `from` to `to`, each taking `seconds`. */
  run(from: number, to: number, seconds: number): void;
  finish(): void;
}

function watch(output: Partial<ProgressOutput>, done: number = 0): Watched {
  const written: string[] = [];
  let records = 0;
  let time = 0;
  const progress = startProgress(
    { ...output, write: (text) => written.push(text) },
    { done, last: 40, steps: 50, now: () => time },
  );
  return {
    written,
    run: (from, to, seconds) => {
      for (const record of all) {
        if (record.step < from || record.step > to) continue;
        records += 1;
        time = (records * seconds * 1000) / 3;
        progress.step(record);
      }
    },
    finish: () => progress.finish(),
  };
}

describe("progress", () => {
  it("rewrites one line in a terminal", () => {
    const { written, run, finish } = watch({ isTTY: true, columns: 200 });
    run(1, 3, 1);
    finish();
    expect(written).toHaveLength(4);
    expect(written[0]?.startsWith("\rstep 1/50 ")).toBe(true);
    expect(written[0]?.endsWith("\u001b[K")).toBe(true);
    expect(written[2]).toMatch(/^\rstep 3\/50 /);
    expect(written[3]).toBe("\n");
    expect(written.slice(0, 3).join("")).not.toContain("\n");
  });

  it("says step, loss, bits/byte, tokens/s, time left, busiest and idlest expert", () => {
    const { written, run } = watch({ isTTY: true, columns: 200 });
    run(1, 10, 2);
    expect(written.at(-1)).toMatch(
      /step 10\/50 {2}loss (\d\.\d{3}\/?){3} {2}bits\/byte (\d\.\d{3}\/?){3} {2}1\.68 k tokens\/s {2}1:00 left {2}busiest expert \d\.\d \d\.\dx, idlest \d\.\d \d\.\dx/,
    );
  });

  it("fits a narrow terminal", () => {
    const { written, run } = watch({ isTTY: true, columns: 60 });
    run(1, 2, 1);
    const line = written.at(-1) ?? "";
    expect(line.length - "\r\u001b[K".length).toBeLessThan(60);
    expect(line).toContain("2/50");
  });

  it("writes a line every few seconds elsewhere, the first and the last step among them", () => {
    const { written, run, finish } = watch({});
    run(1, 40, 1);
    finish();
    expect(written.map((line) => line.split("  ")[0])).toEqual([
      "step 1/50",
      ...[6, 11, 16, 21, 26, 31, 36].map((step) => `step ${step}/50`),
      "step 40/50",
    ]);
    for (const line of written) expect(line).toMatch(/^[ -~]*\n$/);
  });

  it("counts the time from where it went on", () => {
    const { written, run } = watch({}, 20);
    run(21, 22, 3);
    expect(written[0]).toContain("0:57 left");
  });
});
