import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import { type LeftLayout, PANEL, PANEL_ROW_BYTES, TILE_ROWS } from "./tile.ts";

/** What one task of a product computes: some rows times some panels of one matrix. */
export interface Job {
  /** Address of the first row of the left factor, of its entry in a table of rows, or of a packed tile. */
  readonly left: number;
  /** Address of the first panel. */
  readonly right: number;
  readonly rows: number;
  /** Number of the first row, as the epilogue sees it. */
  readonly row: number;
  /** Columns from the first panel's on. */
  readonly columns: number;
  /** Number of the first column, as the epilogue sees it. */
  readonly column: number;
  /** Which matrix it is, as the epilogue sees it. */
  readonly group: number;
  /** K. */
  readonly inner: number;
  /**
   * Bytes from a panel to the one that is fetched from memory while it is used. 0: none is, since
   * computing with few rows takes no longer than fetching.
   */
  readonly ahead: number;
}

/** The words of a job in memory, in order. */
const WORDS = [
  "left",
  "right",
  "rows",
  "row",
  "columns",
  "column",
  "group",
  "inner",
  "ahead",
] as const;
const JOB_BYTES = WORDS.length * 4;

/** Writes jobs to memory; the address of the first. */
export function writeJobs(call: KernelCall, jobs: readonly Job[]): number {
  return call.records(WORDS, jobs);
}

/** Address of the job of a task. */
export function jobAddress(jobs: I32, task: I32): I32 {
  return jobs.add(task.mul(JOB_BYTES));
}

/** Bytes from the address of a job to a word of it. */
export function jobField(word: keyof Job): number {
  return WORDS.indexOf(word) * 4;
}

/** A word of the job at an address. */
export function jobWord(body: Body, job: I32, word: keyof Job): I32 {
  return body.let(I32.load(job, jobField(word)));
}

/** One matrix times some rows, to be cut into jobs. */
export interface Segment {
  /** As in {@link Job}, of the whole. */
  readonly left: number;
  readonly right: number;
  readonly rows: number;
  readonly row: number;
  readonly group: number;
  readonly inner: number;
  /** Columns, those of all panels together where panels have two kinds. */
  readonly columns: number;
  /**
   * Bytes from one row's `left` to the next one's: of the rows themselves, 4 in a table of their
   * addresses, and 4 · `inner` where they are packed in tiles.
   */
  readonly leftStep: number;
}

/** Rows of a job, at most: a multiple of a tile's, so that few tiles are low. */
const BLOCK_ROWS = 20 * TILE_ROWS;
/** Bytes of one factor that a job reads again and again: half of a core's second cache. */
const BLOCK_BYTES = 512 * 1024;
/** Products of a job: about 250 µs, and at least about 30 µs of products where there are few. */
const JOB_PRODUCTS = 6_000_000;
const LEAST_JOB_PRODUCTS = 500_000;
/** Jobs that a launch is cut into where it is large enough. */
const WANTED_JOBS = 32;
/** Reading a weight from memory, or writing a sum there, costs as much as so many products. */
const MEMORY_COST = 8;
/** Jobs of few rows have a multiple of so many panels, for tiles that take several. */
const FEW = { rows: 3, panels: 12 } as const;

/**
 * Cuts products into jobs. What a job is follows from the shapes and the sizes of the groups alone, so
 * results do not depend on the number of threads.
 */
export function cutJobs(segments: readonly Segment[], layout: LeftLayout = "rows"): Job[] {
  const costOf = layout === "rows" ? costOfRows : costOfTiles;
  const total = segments.reduce((sum, segment) => sum + costOf(segment), 0);
  const wanted = Math.min(Math.max(total / WANTED_JOBS, LEAST_JOB_PRODUCTS), JOB_PRODUCTS);
  const cut = layout === "rows" ? cutRows : cutTiles;
  const jobs: Job[] = [];
  for (const segment of segments) cut(segment, wanted, jobs);
  return jobs;
}

/** Blocks of rows, each with as many panels as make a job: the rows are read again with each panel. */
function cutRows(segment: Segment, wanted: number, jobs: Job[]): void {
  const { rows, columns, inner } = segment;
  const fitting = Math.max(2 * TILE_ROWS, BLOCK_BYTES / Math.max(1, inner * 4));
  const blocks = rows / Math.min(BLOCK_ROWS, fitting);
  const most = shareOf(rows, blocks, TILE_ROWS);
  for (let row = 0; row < rows; row += most) {
    const count = Math.min(most, rows - row);
    const parts = costOfRows({ rows: count, columns, inner }) / wanted;
    const share = shareOf(columns, parts, (count <= FEW.rows ? FEW.panels : 1) * PANEL);
    for (let column = 0; column < columns; column += share) {
      const width = Math.min(share, columns - column);
      jobs.push(jobOf(segment, { row, rows: count, column, columns: width }));
    }
  }
}

/** Blocks of panels, each with as many tiles as make a job: the panels are read again with each tile. */
function cutTiles(segment: Segment, wanted: number, jobs: Job[]): void {
  const { rows, columns, inner } = segment;
  const blocks = Math.ceil((columns * inner * 4) / BLOCK_BYTES);
  const most = shareOf(columns, blocks, PANEL);
  for (let column = 0; column < columns; column += most) {
    const width = Math.min(most, columns - column);
    const share = shareOf(rows, costOfTiles({ rows, columns: width, inner }) / wanted, TILE_ROWS);
    for (let row = 0; row < rows; row += share) {
      const count = Math.min(share, rows - row);
      jobs.push(jobOf(segment, { row, rows: count, column, columns: width }));
    }
  }
}

/** A share of a length that is cut into about `parts`: a multiple of something. */
function shareOf(length: number, parts: number, multiple: number): number {
  return Math.max(1, Math.ceil(length / Math.max(1, Math.round(parts)) / multiple)) * multiple;
}

function jobOf(
  { left, right, row, leftStep, inner, group }: Segment,
  part: Pick<Job, "row" | "rows" | "column" | "columns">,
): Job {
  return {
    ...part,
    left: left + part.row * leftStep,
    right: right + part.column * inner * 4,
    row: row + part.row,
    group,
    inner,
    ahead: part.rows > TILE_ROWS ? inner * PANEL_ROW_BYTES : 0,
  };
}

/** The size of a product. */
type Size = Pick<Segment, "rows" | "columns" | "inner">;

/** The work of rows times weights, in products of two numbers. */
function costOfRows({ rows, columns, inner }: Size): number {
  return (rows + MEMORY_COST) * columns * inner;
}

/** The work of tiles times panels, in products of two numbers. */
function costOfTiles({ rows, columns, inner }: Size): number {
  return (inner + MEMORY_COST) * columns * rows;
}
