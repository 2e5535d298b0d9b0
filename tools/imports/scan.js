import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import ts from "typescript";
import { isTest } from "../tests.js";

/**
 * @typedef {{ specifier: string, typeOnly: boolean, line: number }} Import
 * @typedef {{ path: string, test: boolean, imports: Import[] }} SourceFile `path` relative to `src`
 * @typedef {{ name: string, folder: string, dependencies: string[], devDependencies: string[],
 *   files: SourceFile[] }} Package
 */

/**
 * Reads the manifests and imports of every package below `packages/` and `apps/`.
 *
 * @param {string} root the folder of the workspace
 * @returns {Package[]}
 */
export function scanWorkspace(root) {
  return ["packages", "apps"]
    .filter((group) => existsSync(join(root, group)))
    .flatMap((group) =>
      readdirSync(join(root, group))
        .sort()
        .map((folder) => `${group}/${folder}`),
    )
    .filter((folder) => existsSync(join(root, folder, "package.json")))
    .map((folder) => scanPackage(root, folder));
}

/**
 * @param {string} root
 * @param {string} folder
 * @returns {Package}
 */
function scanPackage(root, folder) {
  const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
  const source = join(root, folder, "src");
  const files = existsSync(source)
    ? readdirSync(source, { recursive: true, encoding: "utf8" })
    : [];
  return {
    name: manifest.name,
    folder,
    dependencies: Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }),
    devDependencies: Object.keys(manifest.devDependencies ?? {}),
    files: files
      .filter((file) => /\.[cm]?tsx?$/.test(file))
      .sort()
      .map((file) => ({
        path: file.split(sep).join("/"),
        test: isTest(file),
        imports: readImports(readFileSync(join(source, file), "utf8"), file),
      })),
  };
}

/**
 * Every way in which a module names another: import, export from, `import()` and `import("…")` types.
 *
 * @param {string} text
 * @param {string} [name]
 * @returns {Import[]}
 */
export function readImports(text, name = "file.ts") {
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.Latest);
  /** @type {Import[]} */
  const found = [];
  /** @type {(node: ts.Node, literal: ts.Node | undefined, typeOnly: boolean) => void} */
  const add = (node, literal, typeOnly) => {
    if (literal === undefined || !ts.isStringLiteralLike(literal)) return;
    const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
    found.push({ specifier: literal.text, typeOnly, line: line + 1 });
  };
  /** @type {(node: ts.Node) => void} */
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) {
      add(node, node.moduleSpecifier, importsTypesOnly(node.importClause));
    } else if (ts.isExportDeclaration(node)) {
      add(node, node.moduleSpecifier, node.isTypeOnly || onlyTypes(node.exportClause));
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node, node.arguments[0], false);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node, node.argument.literal, true);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** @param {ts.ImportClause | undefined} clause */
function importsTypesOnly(clause) {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  return clause.name === undefined && onlyTypes(clause.namedBindings);
}

/** @param {ts.NamedImportBindings | ts.NamedExportBindings | undefined} bindings */
function onlyTypes(bindings) {
  if (bindings === undefined || !("elements" in bindings)) return false;
  return bindings.elements.length > 0 && [...bindings.elements].every((one) => one.isTypeOnly);
}
