import ts from "typescript";

/**
 * Modules of a library do nothing when they are loaded and hold no state that changes: only so can
 * a bundler leave out what nobody uses.
 *
 * @param {string} text a module
 * @returns {string[]} "line: problem" for each violation
 */
export function checkSource(text) {
  const file = ts.createSourceFile("file.ts", text, ts.ScriptTarget.Latest, true);
  /** @type {string[]} */
  const found = [];
  /** @type {(node: ts.Node, problem: string) => void} */
  const add = (node, problem) => {
    const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
    found.push(`${line + 1}: ${problem}`);
  };
  for (const statement of file.statements) {
    if (ts.isVariableStatement(statement)) {
      if (!(statement.declarationList.flags & ts.NodeFlags.Const)) {
        add(statement, "state at module level; hold it in a value that the caller owns");
      }
    } else if (ts.isExpressionStatement(statement)) {
      add(statement, "does something when the module is loaded");
      continue;
    }
    for (const call of callsOnLoad(statement)) {
      const start = text.slice(call.getFullStart(), call.getStart(file));
      if (!/[#@]__PURE__/.test(start)) {
        add(call, "a call when the module is loaded; mark it /*#__PURE__*/ or put it off");
      }
    }
  }
  return found;
}

/**
 * Calls that run with the module, not those within functions and methods.
 *
 * @param {ts.Node} root
 * @returns {ts.Node[]}
 */
function callsOnLoad(root) {
  /** @type {ts.Node[]} */
  const found = [];
  /** @type {(node: ts.Node) => void} */
  const visit = (node) => {
    if (ts.isFunctionLike(node) || ts.isTypeNode(node)) return;
    if (ts.isPropertyDeclaration(node) && !isStatic(node)) return;
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) found.push(node);
    if (ts.isTaggedTemplateExpression(node)) found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(root);
  return found;
}

/** @param {ts.PropertyDeclaration} node */
function isStatic(node) {
  return node.modifiers?.some((one) => one.kind === ts.SyntaxKind.StaticKeyword) ?? false;
}

/** @param {string} text */
export function countLines(text) {
  return text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
}
