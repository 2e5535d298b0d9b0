import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import { PANEL, TILE_ROWS } from "./tile.ts";

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
/** Bytes of a job's rows, as far as they are more than two tiles: half of a core's second cache. */
const BLOCK_BYTES = 512 * 1024;
/** Products of a job: about 100 µs, and at least about 30 µs of products where there are few. */
const JOB_PRODUCTS = 2_000_000;
const LEAST_JOB_PRODUCTS = 500_000;
/** Jobs that a launch is cut into where it is large enough. */
const WANTED_JOBS = 32;
/** Reading a weight from memory costs as much as so many products. */
const WEIGHT_COST = 8;

/** Jobs of few rows have a multiple of so many panels, for tiles that take several. */
const FEW = { rows: 3, panels: 12 } as const;

/**
 * Cuts products into jobs. What a job is follows from the shapes and the sizes of the groups alone, so
 * results do not depend on the number of threads.
 */
export function cutJobs(segments: readonly Segment[]): Job[] {
  const total = segments.reduce((sum, segment) => sum + costOf(segment, segment.rows), 0);
  const wanted = Math.min(Math.max(total / WANTED_JOBS, LEAST_JOB_PRODUCTS), JOB_PRODUCTS);
  return segments.flatMap((segment) => cutSegment(segment, wanted));
}

function cutSegment(segment: Segment, wanted: number): Job[] {
  const { columns, inner, leftStep, group } = segment;
  const jobs: Job[] = [];
  const rowsOfBlock = blockRows(segment);
  const panels = Math.ceil(columns / PANEL);
  for (let first = 0; first < segment.rows; first += rowsOfBlock) {
    const rows = Math.min(rowsOfBlock, segment.rows - first);
    const parts = Math.max(1, Math.round(costOf(segment, rows) / wanted));
    const multiple = rows <= FEW.rows ? FEW.panels : 1;
    const panelsOfPart = Math.max(1, Math.ceil(panels / parts / multiple)) * multiple;
    for (let panel = 0; panel < panels; panel += panelsOfPart) {
      const column = panel * PANEL;
      jobs.push({
        left: segment.left + first * leftStep,
        right: segment.right + column * inner * 4,
        rows,
        row: segment.row + first,
        columns: Math.min(panelsOfPart * PANEL, columns - column),
        column,
        group,
        inner,
      });
    }
  }
  return jobs;
}

/** Rows of a job: about as many in each, in whole tiles. */
function blockRows({ rows, inner }: Segment): number {
  const fitting = Math.max(2 * TILE_ROWS, BLOCK_BYTES / Math.max(1, inner * 4));
  const blocks = Math.max(1, Math.round(rows / Math.min(BLOCK_ROWS, fitting)));
  return Math.ceil(rows / blocks / TILE_ROWS) * TILE_ROWS;
}

/** The work of a product, in multiplications and additions of one pair. */
function costOf({ columns, inner }: Segment, rows: number): number {
  return (rows + WEIGHT_COST) * columns * inner;
}
