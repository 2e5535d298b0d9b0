import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";
import { isTest } from "../tests.js";
import { checkManifest, sourceEntries } from "./manifest.js";
import { checkSource, countLines } from "./source.js";

const filesOfPackage = ["README.md", "tsconfig.json", "tsdown.config.js"];
const medianLines = 200;
/** Tables that are filled when they are loaded: the kit's cases, which nobody takes a part of. */
const tables = /^packages\/conformance\/src\/cases\//;

/**
 * What every package has to look like, so that knowing one is knowing all.
 *
 * @param {string} root
 * @returns {string[]} one line for each violation
 */
export function checkShape(root) {
  const found = checkPins(root);
  const documented = JSON.parse(readFileSync(join(root, "typedoc.json"), "utf8")).entryPoints;
  /** @type {number[]} */
  const lengths = [];
  for (const group of ["packages", "apps"]) {
    for (const name of readdirSync(join(root, group)).sort()) {
      const folder = `${group}/${name}`;
      if (!existsSync(join(root, folder, "package.json"))) continue;
      const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
      for (const file of filesOfPackage) {
        if (!existsSync(join(root, folder, file))) found.push(`${folder}: ${file} is missing`);
      }
      if (group === "packages" || manifest.private !== true) {
        const problems = checkManifest(manifest, (file) => existsSync(join(root, folder, file)));
        found.push(...problems.map((problem) => `${folder}/package.json: ${problem}`));
        for (const entry of sourceEntries(manifest).map((file) => posix.join(folder, file))) {
          if (!documented.includes(entry)) found.push(`typedoc.json: ${entry} is missing`);
        }
      }
      const library = manifest.bin === undefined && manifest.private !== true;
      for (const file of sources(join(root, folder, "src"))) {
        const text = readFileSync(join(root, folder, "src", file), "utf8");
        lengths.push(countLines(text));
        if (!library || tables.test(`${folder}/src/${file}`)) continue;
        const problems = checkSource(text);
        found.push(...problems.map((problem) => `${folder}/src/${file}:${problem}`));
      }
    }
  }
  const median = lengths.sort((a, b) => a - b)[Math.floor(lengths.length / 2)] ?? 0;
  if (median >= medianLines) found.push(`the median source file has ${median} lines: split some`);
  return found;
}

/** @param {string} folder */
function sources(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !isTest(file))
    .sort();
}

/**
 * The version of pnpm stands twice: for whoever starts it, and as the program that turbo looks for.
 *
 * @param {string} root
 */
function checkPins(root) {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const lock = readFileSync(join(root, "pnpm-lock.yaml"), "utf8");
  const found = [];
  const pin = manifest.devEngines?.packageManager?.version;
  if (pin === undefined || pin !== manifest.devDependencies.pnpm) {
    found.push("package.json: devEngines.packageManager and devDependencies.pnpm differ");
  }
  if (/^\s*(tarball|registry):|tarball: http/m.test(lock)) {
    found.push("pnpm-lock.yaml: names a registry's host; install with the default settings");
  }
  return found;
}
