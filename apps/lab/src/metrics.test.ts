import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FormatError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openMetrics, readMetrics } from "./metrics.ts";
import { syntheticRun } from "./testing/synthetic-run.ts";

const { records } = syntheticRun({ steps: 6 });
let folder = "";
let path = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lab-metrics-"));
  path = join(folder, "metrics.jsonl");
});

afterEach(() => rmSync(folder, { recursive: true }));

function write(steps: number, done: number = 0): void {
  const metrics = openMetrics(path, done);
  for (const record of records.filter(({ step }) => step > done && step <= steps)) {
    metrics.append(record);
  }
  metrics.flush();
  metrics.close();
}

describe("metrics", () => {
  it("are one object for each step and model", () => {
    write(6);
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    expect(lines.map((line): unknown => JSON.parse(line))).toEqual(records);
    expect(readMetrics(path, 6)).toEqual(records);
  });

  it("are on the disk as soon as they are flushed", () => {
    const metrics = openMetrics(path, 0);
    for (const record of records.slice(0, 6)) metrics.append(record);
    metrics.flush();
    expect(readMetrics(path, 2)).toEqual(records.slice(0, 6));
    metrics.close();
  });

  it("are cut back to the checkpoint, so no step stands twice", () => {
    write(5);
    appendFileSync(path, '{"step":6,"model":"spa');
    write(6, 3);
    expect(readFileSync(path, "utf8")).toBe(
      records.map((record) => `${JSON.stringify(record)}\n`).join(""),
    );
  });

  it("start afresh where no checkpoint was written", () => {
    write(2);
    openMetrics(path, 0).close();
    expect(readFileSync(path, "utf8")).toBe("");
  });

  it.each([
    ["too short", (text: string) => text.split("\n").slice(0, 3).join("\n"), 3],
    ["torn", (text: string) => text.slice(0, -20), 3],
    ["damaged", (text: string) => text.replace('"step":2', '"step":"2"'), 2],
    ["out of order", (text: string) => text.split("\n").toReversed().join("\n"), 1],
    ["of one model twice", (text: string) => text.replaceAll("dense", "sparse"), 1],
    ["without one model", (text: string) => text.replace(/.*hash.*\n/, ""), 2],
  ])("refuse a file that is %s, and leave it as it is", (_, damage, done) => {
    write(done);
    const damaged = damage(readFileSync(path, "utf8"));
    writeFileSync(path, damaged);
    expect(() => openMetrics(path, done)).toThrow(FormatError);
    expect(() => openMetrics(path, done)).toThrow(/metrics\.jsonl: line \d+ is not a whole record/);
    expect(readFileSync(path, "utf8")).toBe(damaged);
  });

  it("refuse a missing file behind a checkpoint", () => {
    expect(() => openMetrics(path, 1)).toThrow(FormatError);
  });
});
