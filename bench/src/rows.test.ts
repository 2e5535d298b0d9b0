import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { rowOf, tableOf, writeRows } from "./rows.ts";

const rows = [
  rowOf("one", 10, "somebody 1.0", 27.456, { goal: 3, gflops: 2.5 }),
  rowOf("two", 12.34567, "somebody 1.0", null, { note: "wrong" }),
];

describe("rows", () => {
  it("hold peerMs / oursMs, rounded", () => {
    expect(rows[0]).toMatchObject({ oursMs: 10, peerMs: 27.46, ratio: 2.746, goal: 3 });
    expect(rows[1]).toMatchObject({ oursMs: 12.35, peerMs: null, ratio: null });
  });

  it("are written as JSON, with nothing left beside the file", () => {
    const folder = mkdtempSync(join(tmpdir(), "rows-"));
    try {
      const file = join(folder, "below/rows.json");
      writeRows(file, rows);
      expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(rows);
      expect(readdirSync(join(folder, "below"))).toEqual(["rows.json"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("are shown as a table without columns that nobody fills", () => {
    expect(tableOf(rows, ["note"])).toEqual([
      "name  peer          oursMs  peerMs  ratio  goal  gflops",
      "one   somebody 1.0      10   27.46  2.746     3     2.5",
      "two   somebody 1.0   12.35",
    ]);
  });
});
