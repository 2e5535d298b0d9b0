import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import ts from "typescript";
import { root } from "../process.js";

/**
 * One small program and what its bundle may hold.
 *
 * @typedef {{ entry: string, gzipBytes: number, packages: string[], mustNotAppear: string[] }} Ceiling
 */

/**
 * Bundles every program of `ceilings.json` from the built packages.
 *
 * @returns {Promise<string[]>}
 */
export async function checkSizes() {
  /** @type {Ceiling[]} */
  const ceilings = JSON.parse(readFileSync(join(root, "tools/tree-shake/ceilings.json"), "utf8"));
  const found = unknownNames(ceilings);
  for (const ceiling of ceilings) {
    const { violations, gzipBytes } = await checkSize(ceiling, join(root, "tools/tree-shake"));
    found.push(...violations);
    console.log(`        ${ceiling.entry}: ${gzipBytes} of ${ceiling.gzipBytes} bytes gzipped`);
  }
  return found;
}

/**
 * A name that no package has any more would be looked for in vain, and forbid nothing.
 *
 * @param {readonly Ceiling[]} ceilings
 * @returns {string[]}
 */
function unknownNames(ceilings) {
  const built = readdirSync(join(root, "packages")).flatMap((name) => {
    const folder = join(root, "packages", name, "dist");
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".js"))
      .map((file) => namesIn(readFileSync(join(folder, file), "utf8")));
  });
  return ceilings.flatMap(({ entry, mustNotAppear }) =>
    mustNotAppear
      .filter((name) => !built.some((names) => names.has(name)))
      .map((name) => `${entry}: no package has ${name}; name what must not appear`),
  );
}

/**
 * The size is the minified and gzipped bundle's; names are looked for in one that is not minified.
 *
 * @param {Ceiling} ceiling
 * @param {string} folder where the entry lies
 * @returns {Promise<{ violations: string[], gzipBytes: number }>}
 */
export async function checkSize(ceiling, folder) {
  const entry = join(folder, ceiling.entry);
  const small = await bundle(entry, true);
  const readable = await bundle(entry, false);
  const gzipBytes = gzipSync(small.code, { level: 9 }).byteLength;
  const violations = [];
  if (gzipBytes > ceiling.gzipBytes) {
    violations.push(`${ceiling.entry}: ${gzipBytes} bytes gzipped, allowed ${ceiling.gzipBytes}`);
  }
  for (const name of readable.packages) {
    if (!ceiling.packages.includes(name)) {
      violations.push(`${ceiling.entry}: carries code of ${name}`);
    }
  }
  const names = namesIn(readable.code);
  for (const name of ceiling.mustNotAppear) {
    if (names.has(name)) {
      violations.push(`${ceiling.entry}: carries ${name}`);
    }
  }
  return { violations, gzipBytes };
}

/**
 * @param {string} entry
 * @param {boolean} minify
 * @returns {Promise<{ code: string, packages: string[] }>} the packages whose code is in the bundle
 */
async function bundle(entry, minify) {
  const build = await rolldown({
    input: entry,
    cwd: root,
    platform: "neutral",
    onLog(level, log) {
      if (level === "warn") throw new Error(`${entry}: ${log.message}`);
    },
  });
  const { output } = await build.generate({ format: "esm", minify, codeSplitting: false });
  await build.close();
  const [chunk] = output;
  const files = Object.entries(chunk.modules).filter(([, module]) => module.renderedLength > 0);
  const names = files.map(
    ([file]) => /\/packages\/([^/]+)\//.exec(file.replaceAll("\\", "/"))?.[1],
  );
  return {
    code: chunk.code,
    packages: [...new Set(names.filter((name) => name !== undefined))].sort(),
  };
}

/**
 * Every name that the code declares or uses; what stands in comments and texts does no harm.
 *
 * @param {string} code
 * @returns {Set<string>}
 */
function namesIn(code) {
  const file = ts.createSourceFile("bundle.js", code, ts.ScriptTarget.Latest);
  /** @type {Set<string>} */
  const names = new Set();
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}
