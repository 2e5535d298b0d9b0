import { describe, expect, it } from "vitest";
import { checkManifest } from "./manifest.js";
import { checkSource, countLines } from "./source.js";

const manifest = {
  name: "@moiety/one",
  description: "one",
  license: "MIT",
  author: "The Moiety authors",
  type: "module",
  sideEffects: false,
  files: ["dist"],
  engines: { node: ">=20.19" },
  exports: {
    ".": {
      "@moiety/source": "./src/index.ts",
      types: "./dist/index.d.ts",
      default: "./dist/index.js",
    },
    "./package.json": "./package.json",
  },
  publishConfig: {
    access: "public",
    exports: {
      ".": { types: "./dist/index.d.ts", default: "./dist/index.js" },
      "./package.json": "./package.json",
    },
  },
};

describe("checkManifest", () => {
  it("finds nothing in a good one", () => {
    expect(checkManifest(manifest, () => true)).toEqual([]);
  });

  it.each([
    ["side effects", { sideEffects: true }, "sideEffects must be false"],
    ["another licence", { license: "ISC" }, `license must be "MIT"`],
    ["no exports when published", { publishConfig: { access: "public" } }, "without"],
    [
      "no source",
      { exports: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } } },
      "must name its source first",
    ],
    [
      "another file than the built one",
      {
        exports: {
          ".": {
            "@moiety/source": "./src/index.ts",
            types: "./dist/index.d.ts",
            default: "./dist/main.js",
          },
        },
      },
      "must be built as",
    ],
  ])("bites on %s", (_, change, message) => {
    expect(checkManifest({ ...manifest, ...change }, () => true).join("\n")).toContain(message);
  });

  it("bites on a source that is not there", () => {
    expect(checkManifest(manifest, () => false)).toEqual([
      `exports["."]: there is no ./src/index.ts`,
    ]);
  });
});

describe("checkSource", () => {
  it.each([
    `export const add = (a: number, b: number): number => Math.abs(a) + b;`,
    `export const names: readonly string[] = ["a", "b"];`,
    `export const op: Op = /*#__PURE__*/ defineOp({ infer: () => shapeOf(1) });`,
    `export const op: Op = /* @__PURE__ */ new Op();`,
    `export class Box { value: Map<string, number> = new Map(); get(): number { return f(); } }`,
    `export type One = ReturnType<typeof import("./one.ts").one>;`,
    `export function one(): void { let a = 1; a += f(); }`,
  ])("accepts %s", (text) => {
    expect(checkSource(text)).toEqual([]);
  });

  it.each([
    [`let count = 0;`, "1: state at module level"],
    [`export const seen: Map<string, number> = new Map();`, "1: a call when the module is loaded"],
    [`\nregister("one");`, "2: does something when the module is loaded"],
    [`export const op: Op = /*#__PURE__*/ defineOp({ name: nameOf("a") });`, "1: a call"],
    [`export class Box { static all: Set<Box> = new Set(); }`, "1: a call"],
  ])("bites on %s", (text, message) => {
    const found = checkSource(text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });
});

describe("countLines", () => {
  it("counts a last line with and without its end", () => {
    expect(countLines("a\nb\n")).toBe(2);
    expect(countLines("a\nb")).toBe(2);
  });
});
