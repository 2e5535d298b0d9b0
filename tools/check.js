// `npm run check [-- PART …]`: every check but the tests. All parts run, also after a failure.
import { rmSync } from "node:fs";
import { checkFamilies } from "./families/check.js";
import { checkImports } from "./imports/check.js";
import { scanWorkspace } from "./imports/scan.js";
import { checkLinks } from "./links/check.js";
import { checkConsumers } from "./pack-test/check.js";
import { checkPackages } from "./packages/check.js";
import { packWorkspace } from "./packages/pack.js";
import { root, runTool } from "./process.js";
import { checkShape } from "./shape/check.js";
import { checkSizes } from "./tree-shake/check.js";

/** @type {ReturnType<typeof packWorkspace> | undefined} */
let packed;
const tarballs = () => (packed ??= packWorkspace());

/**
 * Each part gives one line per violation; none means that it passed.
 *
 * @type {Record<string, () => string[] | Promise<string[]>>}
 */
const parts = {
  format: () => runTool("oxfmt/bin/oxfmt", ["--list-different"]),
  lint: () => runTool("oxlint/bin/oxlint", ["--quiet", "--format=unix"]),
  types: async () => {
    const projects = [
      "tsconfig.json",
      "tsconfig.universal.json",
      "tools/tsconfig.json",
      "bench/tsconfig.json",
      "examples/custom-backend/tsconfig.json",
      "examples/write-a-router/tsconfig.json",
    ];
    const lines = await Promise.all(projects.map(typescript));
    return [...new Set(lines.flat())];
  },
  imports: () => checkImports(scanWorkspace(root)),
  shape: () => checkShape(root),
  links: () => checkLinks(root),
  unused: () => runTool("knip/bin/knip.js", ["--no-progress"]),
  build: () => runTool("turbo/bin/turbo", ["run", "build", "--output-logs=errors-only"]),
  packages: async () => checkPackages(await tarballs()),
  consumers: async () => checkConsumers(await tarballs()),
  sizes: () => checkSizes(),
  families: () => checkFamilies(root),
};

process.exit(await main(process.argv.slice(2)));

/** @param {string[]} wanted */
async function main(wanted) {
  const unknown = wanted.find((name) => !Object.hasOwn(parts, name));
  if (unknown !== undefined) {
    console.error(`unknown part "${unknown}"; there are: ${Object.keys(parts).join(", ")}`);
    return 1;
  }
  const failed = [];
  try {
    for (const [name, part] of Object.entries(parts)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      const started = performance.now();
      const violations = failed.includes("build") ? ["needs a build"] : await outcomeOf(part);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const passed = violations.length === 0;
      console.log(`${passed ? "passed" : "FAILED"}  ${name} (${seconds} s)`);
      for (const line of violations) console.log(`        ${line}`);
      if (!passed) failed.push(name);
    }
  } finally {
    if (packed !== undefined) rmSync((await packed).folder, { recursive: true, force: true });
  }
  if (failed.length > 0) console.log(`\nfailed: ${failed.join(", ")}`);
  return failed.length > 0 ? 1 : 0;
}

/**
 * A part that throws has failed as well, and must not keep the others from running.
 *
 * @param {() => string[] | Promise<string[]>} part
 */
async function outcomeOf(part) {
  try {
    return await part();
  } catch (error) {
    return String(error instanceof Error ? error.message : error).split("\n");
  }
}

/** @param {string} project */
function typescript(project) {
  return runTool("typescript/bin/tsc", ["-p", project, "--pretty", "false"]);
}
