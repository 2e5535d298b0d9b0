import { existsSync, mkdtempSync, readFileSync, readdirSync } from "node:fs";
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
  const folders = publishedFolders();
  const filters = folders.map((one) => `--filter=./${one}`);
  const options = ["--recursive", ...filters, "pack", "--pack-destination", folder];
  const problems = outcome("pnpm pack", await run(process.execPath, [pnpm, ...options]));
  if (problems.length > 0) throw new Error(`packing failed:\n${problems.join("\n")}`);
  const tarballs = folders.map((one) => describe(folder, one));
  return { folder, tarballs };
}

/** Folders of the packages that are published: all that are not private. */
function publishedFolders() {
  return ["packages", "apps"]
    .flatMap((group) => readdirSync(join(root, group)).map((name) => `${group}/${name}`))
    .filter((folder) => existsSync(join(root, folder, "package.json")))
    .filter((folder) => readManifest(folder).private !== true);
}

/** @param {string} folder as seen from the workspace's folder */
function readManifest(folder) {
  return JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
}

/**
 * @param {string} target where the tarballs lie
 * @param {string} folder
 * @returns {Tarball}
 */
function describe(target, folder) {
  const manifest = readManifest(folder);
  const base = manifest.name.replace("@", "").replace("/", "-");
  return {
    name: manifest.name,
    file: join(target, `${base}-${manifest.version}.tgz`),
    hasTypes: Object.keys(manifest.exports).some((key) => key !== "./package.json"),
  };
}
