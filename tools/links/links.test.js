import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { anchorsIn, checkLinks, linksIn } from "./check.js";

/** @type {string[]} */
const folders = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe("checkLinks", () => {
  it("follows links to files, folders and headings, and names those that lead nowhere", () => {
    const root = mkdtempSync(join(tmpdir(), "moiety-links-"));
    folders.push(root);
    mkdirSync(join(root, "packages"));
    mkdirSync(join(root, "node_modules"));
    writeFileSync(join(root, "node_modules", "other.md"), "[gone](gone.md)");
    writeFileSync(join(root, "packages", "one.md"), "# The first, of two\n[up](../README.md)\n");
    writeFileSync(
      join(root, "README.md"),
      [
        "[folder](packages) and [file](packages/one.md#the-first-of-two)",
        "[away](https://example.org/gone.md)",
        "[gone](packages/two.md) and [no heading](packages/one.md#the-second)",
      ].join("\n"),
    );
    expect(checkLinks(root)).toEqual([
      `README.md:3: "packages/two.md" leads nowhere`,
      `README.md:3: "packages/one.md#the-second" leads nowhere`,
    ]);
  });
});

describe("linksIn", () => {
  it("leaves out what stands in code", () => {
    const text = "`[a](a.md)`\n```ts\n[b](b.md)\n```\n[c](c.md)\n[d]: d.md\n";
    expect(linksIn(text)).toEqual([
      { target: "c.md", line: 5 },
      { target: "d.md", line: 6 },
    ]);
  });
});

describe("anchorsIn", () => {
  it("makes anchors of headings", () => {
    expect(anchorsIn("# What `moe()` does\n## Größe & Zahl\n")).toEqual([
      "what-moe-does",
      "größe--zahl",
    ]);
  });
});
