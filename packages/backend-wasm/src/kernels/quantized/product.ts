import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import {
  type Words,
  type Arguments,
  type LaunchArguments,
  type Parameters,
  type Routine,
  defineRoutine,
} from "../../routine.ts";
import { type Job, cutJobs, jobAddress, jobField, jobWord, writeJobs } from "../products/job.ts";
import type { Product, ProductLaunch } from "../products/product.ts";
import {
  type FinishedTile,
  type ProductDefinition,
  type ProductParameters,
  PRODUCT_PARAMETERS,
  rowStarts,
} from "../products/sweep.ts";
import { addPanel, planTiles } from "../products/tile-plan.ts";
import { PANEL_ROW_BYTES } from "../products/tile.ts";
import { BLOCK } from "./codes.ts";
import { DECODE_WORK, FEW_ROWS, WIDE, WIDE_VECTORS, callDecode } from "./decode.ts";
import { callFill } from "./fill.ts";
import {
  type CodesMatrix,
  PANEL,
  blocksOf,
  blocksWord,
  matrixWord,
  writeMatrix,
} from "./matrix.ts";
import { STEPS } from "./numbers.ts";
import type { PackedCodes } from "./pack.ts";

const CODES_PARAMETERS: Words<"codesMatrix" | "scratch" | "scratchBytes"> = {
  /** What `writeMatrix` wrote. */
  codesMatrix: I32,
  /** Where the first task turns codes into floats, and bytes from one task's place to the next one's. */
  scratch: I32,
  scratchBytes: I32,
};

type CodesParameters = typeof CODES_PARAMETERS;

/** A product whose right factor is held in codes. Bits are those of the product with the numbers as floats. */
export interface CodesProduct<P extends Parameters> {
  readonly routine: Routine<ProductParameters & P & CodesParameters>;
}

/**
 * Defines the product of codes that has the tiles and the epilogue of `product`. Few rows take several
 * panels at a time and turn codes into numbers in registers; for more rows a panel becomes floats
 * first.
 */
export function defineCodesProduct<P extends Parameters>(
  definition: ProductDefinition<P>,
  { narrow }: Product<P>,
): CodesProduct<P> {
  type All = ProductParameters & P & CodesParameters;
  const parameters: All = { ...PRODUCT_PARAMETERS, ...definition.parameters, ...CODES_PARAMETERS };
  const { name, epilogue } = definition;
  const routine = defineRoutine<All>(`${name}Codes`, parameters, (body, args, task) => {
    const common = args as unknown as Arguments<ProductParameters & CodesParameters>;
    const job = readJob(body, common, task);
    const panel = body.int(0);
    const finish: Finish = (tile) =>
      epilogue(body, tile, args as unknown as Arguments<ProductParameters & P>);
    addFewRows(body, common, job, panel, finish);
    addTiles(body, common, job, panel, narrow);
  });
  return { routine };
}

/** Runs the epilogue. */
type Finish = (tile: FinishedTile) => void;

/** A job in locals. */
interface CodesJob {
  readonly address: I32;
  /** Address of the codes of its first panel, that panel's number in the matrix, and bytes of one. */
  readonly codes: I32;
  readonly first: I32;
  readonly panelBytes: I32;
  readonly rows: I32;
  readonly columns: I32;
  readonly group: I32;
  /** Where this task holds addresses of scales, and behind them sums or floats. */
  readonly work: I32;
  readonly scratch: I32;
}

function readJob(
  body: Body,
  { jobs, codesMatrix, scratch, scratchBytes }: Arguments<ProductParameters & CodesParameters>,
  task: I32,
): CodesJob {
  const address = body.let(jobAddress(jobs, task));
  const work = body.let(scratch.add(task.mul(scratchBytes)));
  const blockBytes = matrixWord(body, codesMatrix, "blockBytes");
  return {
    address,
    codes: jobWord(body, address, "right"),
    first: body.let(jobWord(body, address, "column").divU(PANEL)),
    panelBytes: body.let(blocksWord(body, codesMatrix).mul(blockBytes)),
    rows: jobWord(body, address, "rows"),
    columns: jobWord(body, address, "columns"),
    group: jobWord(body, address, "group"),
    work,
    scratch: body.let(work.add(DECODE_WORK)),
  };
}

/** Few rows: several panels at a time, as long as there are so many. `panel` is left behind them. */
function addFewRows(
  body: Body,
  args: Arguments<ProductParameters & CodesParameters>,
  job: CodesJob,
  panel: I32,
  finish: Finish,
): void {
  const { codesMatrix: matrix } = args;
  const inner = matrixWord(body, matrix, "inner");
  const byColumns = matrixWord(body, matrix, "transposed").eq(0);
  body.if(byColumns.and(inner.remU(STEPS).eq(0)), () => {
    for (let height = 1; height <= FEW_ROWS; height++) {
      body.if(job.rows.eq(height), () => {
        const left = jobWord(body, job.address, "left");
        const rows = rowStarts(body, args, left, I32.const(0), height);
        body.while(
          () => panel.add(WIDE).mul(PANEL).leU(job.columns),
          () => {
            addWide(body, matrix, job, panel, rows, finish);
            body.increment(panel, WIDE);
          },
        );
      });
    }
  });
}

function addWide(
  body: Body,
  matrix: I32,
  { address, codes, first, panelBytes, group, work, scratch }: CodesJob,
  panel: I32,
  rows: readonly I32[],
  finish: Finish,
): void {
  callDecode(body, {
    matrix,
    group,
    panel: first.add(panel),
    codes: codes.add(panel.mul(panelBytes)),
    to: scratch,
    work,
    rows,
  });
  body.for(0, WIDE, 1, (index) => {
    const from = body.let(scratch.add(index.mul(PANEL * 4)));
    const sums = rows.map((_, row) =>
      [0, 1].map((half) => body.let(F32x4.load(from, (row * WIDE_VECTORS + half) * 16))),
    );
    finish({
      height: rows.length,
      panels: 1,
      sums,
      row: jobWord(body, address, "row"),
      column: body.let(first.add(panel).add(index).mul(PANEL)),
      columns: undefined,
      group,
    });
  });
}

/** The panels from `panel` on: each becomes floats, and then meets all rows. */
function addTiles(
  body: Body,
  { codesMatrix: matrix }: Pick<Arguments<CodesParameters>, "codesMatrix">,
  { address, codes, first, panelBytes, rows, columns, group, work, scratch }: CodesJob,
  panel: I32,
  narrow: readonly Subroutine[],
): void {
  const plan = planTiles(body, rows);
  const floatBytes = body.let(matrixWord(body, matrix, "inner").mul(PANEL_ROW_BYTES));
  body.while(
    () => panel.mul(PANEL).ltU(columns),
    () => {
      callFill(body, {
        matrix,
        group,
        panel: first.add(panel),
        codes: codes.add(panel.mul(panelBytes)),
        to: scratch,
        work,
      });
      // Tiles look for the panel where it would be among panels of floats.
      body.store(address, scratch.sub(panel.mul(floatBytes)), jobField("right"));
      addPanel(body, narrow, plan, { job: address, panel });
      body.increment(panel, 1);
    },
  );
}

/** Runs a product over all its segments, whose `right` is not looked at. */
export function launchCodesProduct<P extends Parameters>(
  call: KernelCall,
  { routine }: CodesProduct<P>,
  matrix: CodesMatrix,
  packed: PackedCodes,
  { segments, leftStride = 0, gathered = false, out, outStride }: ProductLaunch,
  more: LaunchArguments<P>,
): void {
  const jobs = cutJobs(segments).map((job) => inCodes(job, packed));
  if (jobs.length === 0) return;
  const panelBytes = blocksOf(matrix) * BLOCK * PANEL_ROW_BYTES;
  const sumBytes = FEW_ROWS * WIDE_VECTORS * 16;
  const scratchBytes = DECODE_WORK + Math.max(panelBytes, sumBytes);
  const args: LaunchArguments<ProductParameters & CodesParameters> = {
    jobs: writeJobs(call, jobs),
    leftStride,
    gathered: gathered ? 1 : 0,
    out,
    outStride,
    codesMatrix: writeMatrix(call, matrix),
    scratch: call.temporary(jobs.length * scratchBytes),
    scratchBytes,
  };
  call.launch(
    routine,
    { ...args, ...more } as LaunchArguments<ProductParameters & P & CodesParameters>,
    jobs.length,
  );
}

/** A job on panels of codes. */
function inCodes(job: Job, { address, matrixBytes, panelBytes }: PackedCodes): Job {
  const right = address + job.group * matrixBytes + (job.column / PANEL) * panelBytes;
  return { ...job, right, ahead: 0 };
}
