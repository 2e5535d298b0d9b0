import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { checkSize } from "./check.js";

/** @type {string[]} */
const folders = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/**
 * @param {string} entry the program
 * @param {Partial<import("./check.js").Ceiling>} ceiling
 */
function check(entry, ceiling) {
  const folder = mkdtempSync(join(tmpdir(), "moiety-sizes-"));
  folders.push(folder);
  const files = {
    "entry.js": entry,
    "packages/core/dist/index.js": `
      export function used(x) { return x + 1; }
      export function unused(x) { return x + 2; }`,
    "packages/routers/dist/index.js": `
      export function router(x) { return x * 3; }
      globalThis.registered = true;`,
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const complete = {
    entry: "entry.js",
    gzipBytes: 1000,
    packages: ["core"],
    mustNotAppear: ["unused"],
    ...ceiling,
  };
  return checkSize(complete, folder);
}

const lean = `import { used } from "./packages/core/dist/index.js"; console.log(used(1));`;

describe("checkSize", () => {
  it("finds nothing when what is unused is gone", async () => {
    const { violations, gzipBytes } = await check(lean, {});
    expect(violations).toEqual([]);
    expect(gzipBytes).toBeGreaterThan(20);
  });

  it("bites on a name that must not appear", async () => {
    const entry = `import * as all from "./packages/core/dist/index.js"; console.log(all);`;
    const { violations } = await check(entry, {});
    expect(violations).toEqual(["entry.js: carries unused"]);
  });

  it("bites on bytes over the ceiling", async () => {
    const { violations } = await check(lean, { gzipBytes: 10 });
    expect(violations).toHaveLength(1);
    expect(violations[0]).toMatch(/^entry\.js: \d+ bytes gzipped, allowed 10$/);
  });

  it("bites on a package that has nothing to do there", async () => {
    const { violations } = await check(`${lean} import "./packages/routers/dist/index.js";`, {});
    expect(violations).toEqual(["entry.js: carries code of routers"]);
  });

  it("refuses a program that does not resolve", async () => {
    await expect(check(`import "./gone.js";`, {})).rejects.toThrow(/gone/);
  });
});
