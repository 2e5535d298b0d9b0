import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import { type LeftLayout, PANEL, TILE_ROWS } from "./tile.ts";

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
}

/** The words of a job in memory, in order. */
const WORDS = ["left", "right", "rows", "row", "columns", "column", "group", "inner"] as const;
const JOB_BYTES = WORDS.length * 4;

/** Writes jobs to memory; the address of the first. */
export function writeJobs(call: KernelCall, jobs: readonly Job[]): number {
  const address = call.temporary(jobs.length * JOB_BYTES);
  const { view } = call;
  let at = address;
  for (const job of jobs) {
    for (const [index, word] of WORDS.entries()) view.setUint32(at + index * 4, job[word], true);
    at += JOB_BYTES;
  }
  return address;
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
/** Products of a job: about 100 µs, and at least about 30 µs of products where there are few. */
const JOB_PRODUCTS = 2_000_000;
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
  return segments.flatMap((segment) => cut(segment, wanted));
}

/** Blocks of rows, each with as many panels as make a job: the rows are read again with each panel. */
function cutRows(segment: Segment, wanted: number): Job[] {
  const { rows, inner } = segment;
  const fitting = Math.max(2 * TILE_ROWS, BLOCK_BYTES / Math.max(1, inner * 4));
  const blocks = rows / Math.min(BLOCK_ROWS, fitting);
  const most = shareOf(rows, blocks, TILE_ROWS);
  return partsOf(rows, most).flatMap(([row, count]) => {
    const parts = costOfRows({ ...segment, rows: count }) / wanted;
    const multiple = (count <= FEW.rows ? FEW.panels : 1) * PANEL;
    return partsOf(segment.columns, shareOf(segment.columns, parts, multiple)).map(
      ([column, columns]) => jobOf(segment, { row, rows: count, column, columns }),
    );
  });
}

/** Blocks of panels, each with as many tiles as make a job: the panels are read again with each tile. */
function cutTiles(segment: Segment, wanted: number): Job[] {
  const { rows, columns, inner } = segment;
  const blocks = Math.ceil((columns * inner * 4) / BLOCK_BYTES);
  return partsOf(columns, shareOf(columns, blocks, PANEL)).flatMap(([column, count]) => {
    const parts = costOfTiles({ ...segment, columns: count }) / wanted;
    return partsOf(rows, shareOf(rows, parts, TILE_ROWS)).map(([row, share]) =>
      jobOf(segment, { row, rows: share, column, columns: count }),
    );
  });
}

/** A share of a length that is cut into about `parts`: a multiple of something. */
function shareOf(length: number, parts: number, multiple: number): number {
  return Math.max(1, Math.ceil(length / Math.max(1, Math.round(parts)) / multiple)) * multiple;
}

/** Start and length of the parts of at most so many. */
function partsOf(length: number, most: number): (readonly [start: number, length: number])[] {
  return Array.from({ length: Math.ceil(length / most) }, (_, part) => [
    part * most,
    Math.min(most, length - part * most),
  ]);
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
  };
}

/** The work of rows times weights, in products of two numbers. */
function costOfRows({ rows, columns, inner }: Segment): number {
  return (rows + MEMORY_COST) * columns * inner;
}

/** The work of tiles times panels, in products of two numbers. */
function costOfTiles({ rows, columns, inner }: Segment): number {
  return (inner + MEMORY_COST) * columns * rows;
}
