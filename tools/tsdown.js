/**
 * The build of a library: one file for each entry, ESM, declarations made file by file.
 *
 * @param {string[]} entries
 * @returns {import("tsdown").UserConfig}
 */
export function library(entries) {
  return {
    entry: entries,
    format: "esm",
    platform: "neutral",
    target: "es2023",
    dts: { oxc: true },
    sourcemap: true,
    clean: true,
    outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
  };
}

/**
 * The build of a program to run with Node. What it offers to others has entries of its own, with
 * declarations.
 *
 * @param {string} entry
 * @param {string[]} [offered]
 * @returns {import("tsdown").UserConfig}
 */
export function program(entry, offered = []) {
  return {
    entry: [entry, ...offered],
    format: "esm",
    platform: "node",
    target: "node20",
    dts: offered.length > 0 && { oxc: true },
    sourcemap: true,
    clean: true,
    outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
  };
}
