import { posix } from "node:path";
import { isTest } from "../tests.js";
import { directions, nodePackages } from "./rules.js";
import { findCircles } from "./circles.js";

/**
 * @typedef {import("./scan.js").Package} Package
 * @typedef {import("./scan.js").SourceFile} SourceFile
 */

/**
 * Holds the packages against the directions of import: each may use only what stands below it, says
 * so in its manifest, and nothing goes round in a circle. Tests are free to import any package, for
 * they are not shipped; what is shipped may not import a test.
 *
 * @param {readonly Package[]} packages
 * @returns {string[]} one line for each violation
 */
export function checkImports(packages) {
  const ours = new Set(packages.map((one) => one.name));
  return [
    ...packages.flatMap((one) => [...checkManifest(one, ours), ...checkFiles(one, ours)]),
    ...packageCircles(packages, ours).map((circle) => `circle of packages: ${circle.join(" → ")}`),
    ...packages.flatMap((one) =>
      fileCircles(one).map((circle) => `${one.folder}: circle of files: ${circle.join(" → ")}`),
    ),
  ];
}

/**
 * @param {Package} one
 * @param {ReadonlySet<string>} ours
 * @returns {string[]}
 */
function checkManifest(one, ours) {
  const manifest = `${one.folder}/package.json`;
  const found = [];
  if (!Object.hasOwn(directions, one.name)) {
    found.push(`${manifest}: ${one.name} has no line in tools/imports/rules.js`);
  }
  for (const name of one.dependencies) {
    if (ours.has(name) && !allowed(one.name, name)) {
      found.push(`${manifest}: ${one.name} may not depend on ${name}`);
    }
  }
  for (const name of one.devDependencies) {
    if (ours.has(name)) {
      found.push(`${manifest}: ${name} as devDependency makes a build circle; tests need no entry`);
    }
  }
  return found;
}

/**
 * @param {Package} one
 * @param {ReadonlySet<string>} ours
 * @returns {string[]}
 */
function checkFiles(one, ours) {
  const paths = new Set(one.files.map((file) => file.path));
  const found = [];
  for (const file of one.files) {
    for (const { specifier, line } of file.imports) {
      const problem = checkImport(one, file, specifier, ours, paths);
      if (problem !== undefined) found.push(`${one.folder}/src/${file.path}:${line}: ${problem}`);
    }
  }
  return found;
}

/**
 * @param {Package} one
 * @param {SourceFile} file
 * @param {string} specifier
 * @param {ReadonlySet<string>} ours
 * @param {ReadonlySet<string>} paths
 * @returns {string | undefined}
 */
function checkImport(one, file, specifier, ours, paths) {
  if (specifier.startsWith(".")) {
    const target = posix.join(posix.dirname(file.path), specifier);
    if (target === "../package.json") return undefined;
    if (target.startsWith("..")) {
      return file.test ? undefined : `"${specifier}" leaves the package; import it by its name`;
    }
    if (!paths.has(target)) {
      return file.test ? undefined : `"${specifier}" is no source file of this package`;
    }
    if (!file.test && isTest(target)) return `"${specifier}" is a test`;
    return undefined;
  }
  if (file.test) return undefined;
  if (specifier.startsWith("node:")) {
    const mayUseNode = nodePackages.includes(one.name) || /^node(\.ts$|\/)/.test(file.path);
    return mayUseNode ? undefined : `"${specifier}" belongs into src/node.ts or src/node/`;
  }
  const name = packageName(specifier);
  if (name === one.name) return `"${specifier}" is this package itself; import it by its path`;
  if (ours.has(name) && !allowed(one.name, name)) return `${one.name} may not import ${name}`;
  if (!one.dependencies.includes(name)) return `${name} is missing in the dependencies`;
  return undefined;
}

/**
 * @param {string} from
 * @param {string} to
 */
function allowed(from, to) {
  const targets = Object.hasOwn(directions, from) ? directions[from] : undefined;
  return targets === "all" || (targets?.includes(to) ?? false);
}

/** @param {string} specifier */
function packageName(specifier) {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/**
 * By what the manifests say and by what the files do.
 *
 * @param {readonly Package[]} packages
 * @param {ReadonlySet<string>} ours
 */
function packageCircles(packages, ours) {
  const edges = packages.map((one) => {
    const imported = one.files
      .filter((file) => !file.test)
      .flatMap((file) => file.imports.map((entry) => packageName(entry.specifier)));
    const targets = [...one.dependencies, ...one.devDependencies, ...imported];
    return /** @type {const} */ ([
      one.name,
      targets.filter((name) => ours.has(name) && name !== one.name),
    ]);
  });
  return findCircles(new Map(edges));
}

/**
 * Type-only imports are erased and cannot make a circle at run time.
 *
 * @param {Package} one
 */
function fileCircles(one) {
  const edges = one.files.map((file) => {
    const targets = file.imports
      .filter((entry) => !entry.typeOnly && entry.specifier.startsWith("."))
      .map((entry) => posix.join(posix.dirname(file.path), entry.specifier));
    return /** @type {const} */ ([file.path, targets]);
  });
  return findCircles(new Map(edges));
}
