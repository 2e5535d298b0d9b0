import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outcome, root, run } from "../process.js";

/**
 * @typedef {{ name: string, file: string, hasTypes: boolean }} Tarball
 * @typedef {{ folder: string, tarballs: Tarball[] }} Packed
 */

/**
 * Packs every package that is published, as publishing would. Needs a build.
 *
 * @returns {Promise<Packed>}
 */
export async function packWorkspace() {
  const folder = mkdtempSync(join(tmpdir(), "moiety-pack-"));
  const pnpm = join(root, "node_modules/pnpm/bin/pnpm.cjs");
  const options = ["--recursive", "--filter=./packages/*", "pack", "--pack-destination", folder];
  const problems = outcome("pnpm pack", await run(process.execPath, [pnpm, ...options]));
  if (problems.length > 0) throw new Error(`packing failed:\n${problems.join("\n")}`);
  const tarballs = readdirSync(join(root, "packages")).map((name) => describe(folder, name));
  return { folder, tarballs };
}

/**
 * @param {string} folder
 * @param {string} directory
 * @returns {Tarball}
 */
function describe(folder, directory) {
  const manifest = JSON.parse(
    readFileSync(join(root, "packages", directory, "package.json"), "utf8"),
  );
  const base = manifest.name.replace("@", "").replace("/", "-");
  return {
    name: manifest.name,
    file: join(folder, `${base}-${manifest.version}.tgz`),
    hasTypes: Object.keys(manifest.exports).some((key) => key !== "./package.json"),
  };
}
