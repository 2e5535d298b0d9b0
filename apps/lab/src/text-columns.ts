/** A cell of a table in plain text. */
export type Cell = string;

/** Whether a column's cells stand at its left or its right edge. */
export type Edge = "left" | "right";

/** Lays out rows in columns, two spaces apart; the first row is the head. */
export function columns(rows: readonly (readonly Cell[])[], edges: readonly Edge[]): string {
  const widths = edges.map((_, column) =>
    Math.max(0, ...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row) =>
      edges
        .map((edge, column) => {
          const cell = row[column] ?? "";
          const width = widths[column] ?? 0;
          return edge === "left" ? cell.padEnd(width) : cell.padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
