import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Whether the page of families is what the literals say. Needs a build.
 *
 * @param {string} root
 * @returns {Promise<string[]>} a line where it is not
 */
export async function checkFamilies(root) {
  // Loaded late: when this file is, the packages may not be built.
  const { familiesPage, path } = await import("./page.js");
  const file = join(root, path);
  const found = existsSync(file) ? readFileSync(file, "utf8") : "";
  return found === familiesPage() ? [] : [`${path} is stale; npm run docs writes it`];
}
