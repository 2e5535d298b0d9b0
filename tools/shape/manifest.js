import { isDeepStrictEqual } from "node:util";

const sourceCondition = "@moiety/source";

/** @type {Record<string, unknown>} */
const fixed = {
  license: "MIT",
  author: "The Moiety authors",
  type: "module",
  sideEffects: false,
  files: ["dist"],
  engines: { node: ">=20.19" },
};

/**
 * Source in development, `dist` when published, and nothing else between the two.
 *
 * @param {any} manifest a parsed package.json
 * @param {(file: string) => boolean} exists whether the package has that file
 * @returns {string[]} one line for each violation
 */
export function checkManifest(manifest, exists) {
  const found = [];
  for (const [key, value] of Object.entries(fixed)) {
    if (!isDeepStrictEqual(manifest[key], value)) {
      found.push(`${key} must be ${JSON.stringify(value)}`);
    }
  }
  if (!manifest.description) found.push("description is missing");
  if (manifest.publishConfig?.access !== "public")
    found.push("publishConfig.access must be public");

  /** @type {Record<string, unknown>} */
  const published = {};
  for (const [key, target] of Object.entries(manifest.exports ?? {})) {
    if (typeof target === "string") {
      published[key] = target;
      continue;
    }
    const { [sourceCondition]: source, ...rest } = target;
    published[key] = rest;
    if (source === undefined || Object.keys(target)[0] !== sourceCondition) {
      found.push(`exports["${key}"] must name its source first, under "${sourceCondition}"`);
      continue;
    }
    if (!exists(source)) found.push(`exports["${key}"]: there is no ${source}`);
    const built = source.replace("./src/", "./dist/").replace(/\.ts$/, "");
    const expected = { types: `${built}.d.ts`, default: `${built}.js` };
    if (!isDeepStrictEqual(rest, expected)) {
      found.push(`exports["${key}"] must be built as ${JSON.stringify(expected)}`);
    }
  }
  const named = manifest.publishConfig?.exports ?? manifest.exports;
  if (!isDeepStrictEqual(named, published)) {
    found.push(`publishConfig.exports must be exports without "${sourceCondition}"`);
  }
  return found;
}

/**
 * @param {any} manifest a parsed package.json
 * @returns {string[]} the source file of each entry
 */
export function sourceEntries(manifest) {
  return Object.values(manifest.exports ?? {})
    .map((target) => target[sourceCondition])
    .filter((source) => source !== undefined);
}
