import { describe, expect, it } from "vitest";
import { startProgress } from "./progress.ts";
import type { ProgressOutput } from "./progress.ts";
import { syntheticRun } from "./testing/synthetic-run.ts";

const { records: all } = syntheticRun({ steps: 40 });

interface Watched {
  readonly written: string[];
  /** What a terminal shows in the end. */
  screen(): string[];
  /** Runs steps `from` to `to`, each taking `seconds`. */
  run(from: number, to: number, seconds: number): void;
  note(line: string): void;
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
    screen: () => screenOf(written.join("")),
    run: (from, to, seconds) => {
      for (const record of all) {
        if (record.step < from || record.step > to) continue;
        records += 1;
        time = (records * seconds * 1000) / 3;
        progress.step(record);
      }
    },
    note: (line) => progress.note(line),
    finish: () => progress.finish(),
  };
}

/** The lines on a terminal that knows line ends, going up, and clearing to the end of line or screen. */
function screenOf(text: string): string[] {
  const lines: string[] = [""];
  let [row, column] = [0, 0];
  for (const [, up, clear, control, words] of text.matchAll(
    // oxlint-disable-next-line no-control-regex -- what a terminal is told
    /\u001b\[(\d+)A|\u001b\[([KJ])|([\r\n])|([^\u001b\r\n]+)/g,
  )) {
    if (up !== undefined) row -= Number(up);
    else if (clear !== undefined) {
      lines[row] = (lines[row] ?? "").slice(0, column);
      if (clear === "J") lines.length = row + 1;
    } else if (control === "\r") column = 0;
    else if (control === "\n") [row, column] = [row + 1, 0];
    else if (words !== undefined) {
      const before = lines[row] ?? "";
      lines[row] = before.slice(0, column) + words + before.slice(column + words.length);
      column += words.length;
    }
    lines[row] ??= "";
  }
  return lines.slice(0, -1);
}

const wide = { isTTY: true, columns: 120, rows: 40 };

describe("progress in a terminal", () => {
  it("rewrites a panel: figures and curves of all models, what each expert takes", () => {
    const { screen, run } = watch(wide);
    run(1, 30, 2);
    const [head = "", ...lines] = screen();
    expect(head).toBe("step 30/50  1.68 k tokens/s  0:20 left");
    expect(lines[0]).toMatch(/^ +loss {2}bits\/byte {2}held out$/);
    for (const [index, name] of ["sparse", "dense ", "hash  "].entries()) {
      expect(lines[index + 1]).toMatch(
        new RegExp(`^${name} +\\d\\.\\d{3} +\\d\\.\\d{3} +\\d\\.\\d{3} {2}[▁▂▃▄▅▆▇█]{30}$`),
      );
    }
    expect(lines[4]).toContain("▄ is an even share");
    for (const [index, line] of lines.slice(5).entries()) {
      expect(line).toMatch(
        new RegExp(
          `^layer ${index} {2}[·▁▂▃▄▅▆▇█]{8} +busiest \\d \\d\\.\\dx, idlest \\d \\d\\.\\dx$`,
        ),
      );
    }
    expect(lines).toHaveLength(7);
  });

  it("leaves one picture behind, and notes above it", () => {
    const { screen, run, note, finish } = watch(wide);
    note("to begin with");
    run(1, 3, 1);
    note("in between");
    run(4, 5, 1);
    finish();
    const lines = screen();
    expect(lines.slice(0, 3)).toEqual([
      "to begin with",
      "in between",
      expect.stringMatching(/^step 5\/50 /),
    ]);
    expect(lines.filter((line) => line.startsWith("step "))).toHaveLength(1);
    expect(lines).toHaveLength(2 + 8);
  });

  it("begins at the first step and does not flicker", () => {
    const { written, run, finish } = watch(wide);
    run(1, 1, 0.01);
    expect(written).toHaveLength(1);
    run(2, 8, 0.01);
    expect(written).toHaveLength(1);
    finish();
    expect(written).toHaveLength(2);
  });

  it("shows colours only where they are known", () => {
    const [plain, tinted] = [watch(wide), watch({ ...wide, hasColors: () => true })];
    for (const { run } of [plain, tinted]) run(1, 2, 1);
    expect(plain.written.join("")).not.toContain("\u001b[94m");
    expect(tinted.written.join("")).toContain("\u001b[94msparse");
  });

  it.each([
    [40, 24],
    [120, 7],
  ])("fits %i columns and %i lines on one line", (columns, rows) => {
    const { screen, run } = watch({ isTTY: true, columns, rows });
    run(1, 2, 1);
    const lines = screen();
    expect(lines).toHaveLength(1);
    expect(lines[0]?.length).toBeLessThan(columns);
    expect(lines[0]).toContain("2/50");
  });

  it("leaves the picture of experts out where it has no room", () => {
    const { screen, run } = watch({ isTTY: true, columns: 52, rows: 24 });
    run(1, 9, 1);
    expect(screen().every((line) => line.length < 52)).toBe(true);
    expect(screen().join("\n")).toMatch(/layer 0 {2}busiest/);
  });
});

describe("progress elsewhere", () => {
  it("says step, loss, bits/byte, tokens/s, time left, busiest and idlest expert", () => {
    const { written, run } = watch({});
    run(1, 6, 2);
    expect(written.at(-1)).toMatch(
      /step \d\/50 {2}loss (\d\.\d{3}\/?){3} {2}bits\/byte (\d\.\d{3}\/?){3} {2}1\.68 k tokens\/s {2}\d:\d\d left {2}busiest expert \d\.\d \d\.\dx, idlest \d\.\d \d\.\dx/,
    );
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
