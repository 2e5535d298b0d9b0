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
 * The build of a program: one file to run with Node, no declarations.
 *
 * @param {string} entry
 * @returns {import("tsdown").UserConfig}
 */
export function program(entry) {
  return {
    entry: [entry],
    format: "esm",
    platform: "node",
    target: "node20",
    dts: false,
    sourcemap: true,
    clean: true,
    outExtensions: () => ({ js: ".js" }),
  };
}
