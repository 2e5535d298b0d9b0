import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** One figure. Further keys say more about it. */
export interface Row {
  readonly name: string;
  /** Against whom, with version and precision; null where there is nobody. */
  readonly peer: string | null;
  /** Median, in milliseconds. */
  readonly oursMs: number;
  /** Median, in milliseconds; null where there is no peer or it gives wrong results. */
  readonly peerMs: number | null;
  /** peerMs / oursMs: above 1 we are faster. */
  readonly ratio: number | null;
  /** The ratio that is aimed at. */
  readonly goal?: number | undefined;
  /** What a reader must know to understand the figures. */
  readonly note?: string | undefined;
  readonly [key: string]: unknown;
}

/** Puts a row together from two times. */
export function rowOf(
  name: string,
  oursMs: number,
  peer: string | null = null,
  peerMs: number | null = null,
  more: Readonly<Record<string, unknown>> = {},
): Row {
  const ratio = peerMs === null ? null : rounded(peerMs / oursMs);
  return {
    name,
    peer,
    oursMs: rounded(oursMs),
    peerMs: peerMs === null ? null : rounded(peerMs),
    ratio,
    ...more,
  };
}

/** A number with four digits that mean something. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** Lines of a table: a column for each key of the rows that some row has, but for `hidden` ones. */
export function tableOf(rows: readonly Row[], hidden: readonly string[] = []): string[] {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (key) => !hidden.includes(key) && rows.some((row) => isShown(row[key])),
  );
  const cells = [keys, ...rows.map((row) => keys.map((key) => cellOf(row[key])))];
  const widths = keys.map((_, column) =>
    Math.max(...cells.map((line) => (line[column] ?? "").length)),
  );
  return cells.map((line, index) =>
    line
      .map((cell, column) => {
        const isNumber = rows.some((row) => typeof row[keys[column] ?? ""] === "number");
        const width = widths[column] ?? 0;
        return isNumber && index >= 0 ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd(),
  );
}

function isShown(value: unknown): boolean {
  return value !== undefined && value !== null && typeof value !== "object";
}

function cellOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? "" : String(value);
}

/** Writes rows as JSON, beside the file first, so that no half of one is ever found. */
export function writeRows(file: string, rows: readonly Row[]): void {
  const target = resolve(file);
  const unfinished = `${target}.${process.pid}.unfinished`;
  mkdirSync(dirname(target), { recursive: true });
  try {
    writeFileSync(unfinished, `${JSON.stringify(rows, undefined, 2)}\n`);
    renameSync(unfinished, target);
  } finally {
    rmSync(unfinished, { force: true });
  }
}
