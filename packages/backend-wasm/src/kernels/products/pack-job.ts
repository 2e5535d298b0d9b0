import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { I32x4, vectorConst } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Words, type Arguments, type Routine, defineRoutine } from "../../routine.ts";
import { PANEL } from "./tile.ts";

/** What one task packs: some panels, and some steps of k, of one matrix. */
export interface PackJob {
  /** Address of the matrix, or of the first entry in a table of the addresses of its rows. */
  readonly source: number;
  /** K. */
  readonly inner: number;
  /** Address of the matrix's first panel. */
  readonly to: number;
  /** The panels: from, and to before. */
  readonly panel: number;
  readonly end: number;
  /** The steps of k: the first, and how many. */
  readonly from: number;
  readonly steps: number;
}

/** A matrix to be packed. */
export interface PackMatrix {
  readonly source: number;
  readonly inner: number;
  readonly to: number;
  readonly panels: number;
}

const WORDS = ["source", "inner", "to", "panel", "end", "from", "steps"] as const;
const JOB_BYTES = WORDS.length * 4;

const PARAMETERS: Words<
  | "jobs"
  | "columnBytes"
  | "innerBytes"
  | "gathered"
  | "low"
  | "high"
  | "advance"
  | "lowCount"
  | "highCount"
> = {
  /** Address of the jobs. */
  jobs: I32,
  /** Bytes between neighbouring columns, and between neighbours along k. */
  columnBytes: I32,
  innerBytes: I32,
  /** Not 0: jobs' `source` is a table. */
  gathered: I32,
  /** Bytes from the matrix to the first column of lanes 0 … 3, and to that of the other lanes. */
  low: I32,
  high: I32,
  /** Columns, counted in one of the halves, from one panel to the next. */
  advance: I32,
  /** Columns of each half; may be negative. */
  lowCount: I32,
  highCount: I32,
};

export type PackParameters = typeof PARAMETERS;
export type PackArguments = Arguments<PackParameters>;

/** How a matrix is packed: the arguments without the jobs. */
export type PackLayout = { readonly [K in Exclude<keyof PackParameters, "jobs">]: number };

/** Elements that one task packs, at least: about 30 µs. */
const PACK_GRAIN = 65_536;

/** Jobs of whole panels. */
export function cutPanels(matrices: readonly PackMatrix[]): PackJob[] {
  return matrices.flatMap(({ panels, ...matrix }) => {
    const { inner } = matrix;
    const grain = Math.ceil(PACK_GRAIN / (inner * PANEL));
    return Array.from({ length: Math.ceil(panels / grain) }, (_, index) => ({
      ...matrix,
      panel: index * grain,
      end: Math.min((index + 1) * grain, panels),
      from: 0,
      steps: inner,
    }));
  });
}

/** Jobs of some steps of all panels: what they read lies together. */
export function cutSteps(matrices: readonly PackMatrix[]): PackJob[] {
  return matrices.flatMap(({ panels, ...matrix }) => {
    const { inner } = matrix;
    const grain = Math.ceil(PACK_GRAIN / (panels * PANEL) / 8) * 8;
    return Array.from({ length: Math.ceil(inner / grain) }, (_, index) => ({
      ...matrix,
      panel: 0,
      end: panels,
      from: index * grain,
      steps: Math.min(grain, inner - index * grain),
    }));
  });
}

/** Runs a packing routine over jobs. */
export function launchJobs(
  call: KernelCall,
  routine: Routine<PackParameters>,
  jobs: readonly PackJob[],
  layout: PackLayout,
): void {
  call.launch(routine, { ...layout, jobs: call.records(WORDS, jobs) }, jobs.length);
}

/** The words of a job, as the body of a packing routine sees them. */
export type JobWords = { readonly [K in keyof PackJob]: I32 };

/** Defines a routine that packs one job. */
export function definePack(
  name: string,
  write: (body: Body, args: PackArguments, job: JobWords) => void,
): Routine<PackParameters> {
  return defineRoutine(name, PARAMETERS, (body, args, task) => {
    const address = body.let(args.jobs.add(task.mul(JOB_BYTES)));
    const words = WORDS.map((word, index) => [word, body.let(I32.load(address, index * 4))]);
    write(body, args, Object.fromEntries(words) as JobWords);
  });
}

/** Which lanes of both halves are columns. */
export function masksOf(body: Body, { lowCount, highCount }: PackArguments, column: I32): I32x4[] {
  const lanes = [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
  const indices = body.let(I32x4.splat(column).add(vectorConst(I32x4, lanes)));
  return [lowCount, highCount].map((count) => body.let(I32x4.splat(count).gt(indices)));
}
