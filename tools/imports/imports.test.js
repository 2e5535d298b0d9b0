import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { checkImports } from "./check.js";
import { findCircles } from "./circles.js";
import { readImports, scanWorkspace } from "./scan.js";

/** @type {string[]} */
const folders = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/**
 * A workspace on disk that obeys every rule, changed by what a test plants.
 *
 * @param {Record<string, string>} planted path to contents
 */
function violations(planted) {
  const root = mkdtempSync(join(tmpdir(), "moiety-imports-"));
  folders.push(root);
  /** @type {Record<string, string>} */
  const files = {
    "packages/core/package.json": manifest("@moiety/core"),
    "packages/core/src/index.ts": `export { one } from "./one.ts";\n`,
    "packages/core/src/one.ts": `export const one: number = 1;\n`,
    "packages/core/src/one.test.ts": `import "@moiety/backend-cpu";\nimport "vitest";\n`,
    "packages/backend-cpu/package.json": manifest("@moiety/backend-cpu", ["@moiety/core"]),
    "packages/backend-cpu/src/index.ts": `import "@moiety/core";\n`,
    "packages/routers/package.json": manifest("@moiety/routers", ["@moiety/core"]),
    "packages/routers/src/index.ts": `import type { Tensor } from "@moiety/core";\n`,
    "packages/checkpoints/package.json": manifest("@moiety/checkpoints", ["@moiety/core"]),
    "packages/checkpoints/src/node.ts": `import "node:fs";\n`,
    "apps/lab/package.json": manifest("@moiety/lab", ["@moiety/core"]),
    "apps/lab/src/index.ts": `import "node:fs";\nimport "@moiety/core";\n`,
    "packages/cli/package.json": manifest("moiety", ["@moiety/lab", "@moiety/backend-cpu"]),
    "packages/cli/src/main.ts": `import "@moiety/lab";\nimport create from "@moiety/backend-cpu";\n`,
    ...planted,
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return checkImports(scanWorkspace(root));
}

/**
 * @param {string} name
 * @param {string[]} dependencies
 * @param {string[]} devDependencies
 */
function manifest(name, dependencies = [], devDependencies = []) {
  /** @param {string[]} names */
  const versions = (names) => Object.fromEntries(names.map((one) => [one, "workspace:^"]));
  return JSON.stringify({
    name,
    dependencies: versions(dependencies),
    devDependencies: versions(devDependencies),
  });
}

describe("checkImports", () => {
  it("finds nothing in a workspace that obeys", () => {
    expect(violations({})).toEqual([]);
  });

  it("bites when the lab opens a backend, or reaches for the command line", () => {
    const planted = `import "@moiety/backend-cpu";\nimport "moiety/open-backend";\n`;
    expect(violations({ "apps/lab/src/index.ts": planted })).toEqual([
      "apps/lab/src/index.ts:1: @moiety/lab may not import @moiety/backend-cpu",
      "apps/lab/src/index.ts:2: @moiety/lab may not import moiety",
      expect.stringContaining("circle of packages"),
    ]);
  });

  it.each([
    ["a value", `import create from "@moiety/backend-cpu";`],
    ["a type", `import type { Backend } from "@moiety/backend-cpu";`],
    ["a re-export", `export * from "@moiety/backend-cpu";`],
    ["a dynamic import", `const backend = await import("@moiety/backend-cpu");`],
    ["an import type", `type Backend = import("@moiety/backend-cpu").Backend;`],
    ["an entry beside the main one", `import "@moiety/backend-cpu/deep";`],
  ])("bites when routers reach for a backend: %s", (_, text) => {
    const found = violations({ "packages/routers/src/index.ts": `\n${text}\n` });
    expect(found).toEqual([
      "packages/routers/src/index.ts:2: @moiety/routers may not import @moiety/backend-cpu",
    ]);
  });

  it("bites when core imports upward, and names the circle", () => {
    const found = violations({ "packages/core/src/one.ts": `import "@moiety/routers";\n` });
    expect(found).toEqual([
      "packages/core/src/one.ts:1: @moiety/core may not import @moiety/routers",
      "circle of packages: @moiety/core → @moiety/routers → @moiety/core",
    ]);
  });

  it("bites on a manifest that allows too much", () => {
    const found = violations({
      "packages/routers/package.json": manifest("@moiety/routers", [
        "@moiety/core",
        "@moiety/backend-cpu",
      ]),
    });
    expect(found).toEqual([
      "packages/routers/package.json: @moiety/routers may not depend on @moiety/backend-cpu",
    ]);
  });

  it("bites on a backend as devDependency", () => {
    const found = violations({
      "packages/core/package.json": manifest("@moiety/core", [], ["@moiety/backend-cpu"]),
    });
    expect(found[0]).toMatch(/@moiety\/backend-cpu as devDependency makes a build circle/);
    expect(found[1]).toMatch(/^circle of packages/);
  });

  it("bites on a circle of files, not on one of types alone", () => {
    const back = (/** @type {string} */ text) =>
      violations({
        "packages/core/src/one.ts": `import "./two.ts";\n`,
        "packages/core/src/two.ts": `${text}\n`,
      });
    expect(back(`import { one } from "./one.ts";`)).toEqual([
      "packages/core: circle of files: one.ts → two.ts → one.ts",
    ]);
    expect(back(`import type { One } from "./one.ts";`)).toEqual([]);
    expect(back(`import { type One } from "./one.ts";`)).toEqual([]);
  });

  it.each([
    ["node: in universal code", `import "node:fs";`, `"node:fs" belongs into src/node.ts`],
    ["an unlisted package", `import "left-pad";`, "left-pad is missing in the dependencies"],
    ["a path into another package", `import "../../core/src/one.ts";`, "leaves the package"],
    ["a file that is not there", `import "./gone.ts";`, "is no source file of this package"],
    ["its own name", `import "@moiety/routers";`, "is this package itself"],
    ["a test", `import "./a.test.ts";`, "is a test"],
    ["a helper of tests", `import "./testing/help.ts";`, "is a test"],
  ])("bites on %s", (_, text, message) => {
    const found = violations({
      "packages/routers/src/index.ts": `${text}\n`,
      "packages/routers/src/a.test.ts": "export {};\n",
      "packages/routers/src/testing/help.ts": `import "@moiety/backend-cpu";\n`,
    });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  it("bites on a package without a place", () => {
    const found = violations({ "packages/new/package.json": manifest("@moiety/new") });
    expect(found).toEqual([
      "packages/new/package.json: @moiety/new has no line in tools/imports/rules.js",
    ]);
  });
});

describe("readImports", () => {
  it("tells types from values", () => {
    const text = [
      `import "a";`,
      `import type B from "b";`,
      `import { type C, d } from "c";`,
      `export { type E } from "e";`,
      `export * from "f";`,
      `// import "not";`,
    ].join("\n");
    expect(readImports(text)).toEqual([
      { specifier: "a", typeOnly: false, line: 1 },
      { specifier: "b", typeOnly: true, line: 2 },
      { specifier: "c", typeOnly: false, line: 3 },
      { specifier: "e", typeOnly: true, line: 4 },
      { specifier: "f", typeOnly: false, line: 5 },
    ]);
  });
});

describe("findCircles", () => {
  it("names the way round", () => {
    const edges = new Map([
      ["a", ["b"]],
      ["b", ["c"]],
      ["c", ["b"]],
      ["d", ["d"]],
    ]);
    expect(findCircles(edges)).toEqual([
      ["b", "c", "b"],
      ["d", "d"],
    ]);
  });

  it("finds none in a diamond", () => {
    const edges = new Map([
      ["a", ["b", "c"]],
      ["b", ["d"]],
      ["c", ["d"]],
    ]);
    expect(findCircles(edges)).toEqual([]);
  });
});
