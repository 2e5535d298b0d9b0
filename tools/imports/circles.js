/**
 * Finds circles in a directed graph: at least one for every group of nodes that reach one another.
 *
 * @param {ReadonlyMap<string, readonly string[]>} edges
 * @returns {string[][]} each circle from its first node back to the same node
 */
export function findCircles(edges) {
  /** @type {string[][]} */
  const circles = [];
  /** @type {Set<string>} */
  const done = new Set();
  /** @type {string[]} */
  const path = [];
  /** @param {string} node */
  const visit = (node) => {
    const start = path.indexOf(node);
    if (start >= 0) {
      circles.push([...path.slice(start), node]);
      return;
    }
    if (done.has(node)) return;
    path.push(node);
    for (const target of new Set(edges.get(node) ?? [])) visit(target);
    path.pop();
    done.add(node);
  };
  for (const node of edges.keys()) visit(node);
  return circles;
}
