import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import {
  type Arguments,
  type LaunchArguments,
  type Parameters,
  type Routine,
  type Words,
  defineRoutine,
} from "../../routine.ts";
import { cutJobs, jobAddress, jobWord, writeJobs } from "../products/job.ts";
import type { ProductLaunch } from "../products/product.ts";
import {
  type FinishedTile,
  type ProductDefinition,
  type ProductParameters,
  PRODUCT_PARAMETERS,
  rowStarts,
} from "../products/sweep.ts";
import { type CodesMatrix, PANEL, blocksOf } from "../quantized/matrix.ts";
import { GROUPS, type PackedBlocks, SCALES_BYTES, groupBytes, holdsHalves } from "./pack.ts";
import { SUMS_BYTES, TILE_HEIGHT, callTile } from "./tile.ts";

const ROUNDED_PARAMETERS: Words<
  "codes" | "scales" | "panels" | "blocks" | "halves" | "scratch" | "scratchBytes"
> = {
  /** Addresses of packed codes and scales, panels of a matrix and blocks of a panel. */
  codes: I32,
  scales: I32,
  panels: I32,
  blocks: I32,
  /** Not 0: two codes share a byte. */
  halves: I32,
  /** Where the first task holds sums, and bytes from one task's place to the next one's. */
  scratch: I32,
  scratchBytes: I32,
};

type RoundedParameters = typeof ROUNDED_PARAMETERS;

/** A product of rounded rows with codes in blocks. */
export interface RoundedProduct<P extends Parameters> {
  readonly routine: Routine<ProductParameters & P & RoundedParameters>;
}

/** Defines the product of rounded rows and codes that has the epilogue of `definition`. */
export function defineRoundedProduct<P extends Parameters>(
  definition: ProductDefinition<P>,
): RoundedProduct<P> {
  type All = ProductParameters & P & RoundedParameters;
  const parameters: All = {
    ...PRODUCT_PARAMETERS,
    ...definition.parameters,
    ...ROUNDED_PARAMETERS,
  };
  const { name, epilogue } = definition;
  const routine = defineRoutine<All>(`${name}Rounded`, parameters, (body, args, task) => {
    const common = args as unknown as Arguments<ProductParameters & RoundedParameters>;
    addJob(body, common, task, (tile) =>
      epilogue(body, tile, args as unknown as Arguments<ProductParameters & P>),
    );
  });
  return { routine };
}

/** All rows of a job times all its panels; a panel stays in the first cache. */
function addJob(
  body: Body,
  args: Arguments<ProductParameters & RoundedParameters>,
  task: I32,
  finish: (tile: FinishedTile) => void,
): void {
  const { jobs, blocks, panels, halves, scratch, scratchBytes } = args;
  const job = body.let(jobAddress(jobs, task));
  const [rows, row, columns, column, group] = (
    ["rows", "row", "columns", "column", "group"] as const
  ).map((word) => jobWord(body, job, word)) as [I32, I32, I32, I32, I32];
  const to = body.let(scratch.add(task.mul(scratchBytes)));
  const panelCodes = body.let(
    blocks.mul(
      I32.const(GROUPS * groupBytes(true)).select(halves, I32.const(GROUPS * groupBytes(false))),
    ),
  );
  const first = body.let(group.mul(panels).add(column.divU(PANEL)));
  body.for(0, columns, PANEL, (from) => {
    const panel = body.let(first.add(from.divU(PANEL)));
    const codes = body.let(args.codes.add(panel.mul(panelCodes)));
    const scales = body.let(args.scales.add(panel.mul(blocks).mul(SCALES_BYTES)));
    const start = body.int(0);
    body.while(
      () => start.ltU(rows),
      () => {
        const height = body.let(rows.sub(start));
        addTile(body, args, { job, start, height, codes, scales, to });
        body.for(0, height, 1, (index) => {
          const sums = body.let(to.add(index.mul(SUMS_BYTES)));
          finish({
            height: 1,
            panels: 1,
            sums: [[0, 1].map((half) => body.let(F32x4.load(sums, half * 16)))],
            row: body.let(row.add(start).add(index)),
            column: body.let(column.add(from)),
            columns: body.let(columns.sub(from)),
            group,
          });
        });
        body.increment(start, height);
      },
    );
  });
}

/** The sums of as many rows from `start` on as a tile has; `height` becomes their number. */
function addTile(
  body: Body,
  args: Arguments<ProductParameters & RoundedParameters>,
  place: Readonly<Record<"job" | "start" | "height" | "codes" | "scales" | "to", I32>>,
): void {
  const { job, start, height, ...panel } = place;
  const run = (held: "halves" | "bytes"): void => {
    const most = TILE_HEIGHT[held];
    body.set(height, height.minU(I32.const(most)));
    for (let count = 1; count <= most; count++) {
      body.if(height.eq(count), () => {
        const rows = rowStarts(body, args, jobWord(body, job, "left"), start, count);
        body.if(
          args.blocks,
          () => callTile(body, held, { ...panel, blocks: args.blocks, rows }),
          () => body.fillBytes(panel.to, 0, count * SUMS_BYTES),
        );
      });
    }
  };
  body.if(
    args.halves,
    () => run("halves"),
    () => run("bytes"),
  );
}

/** Runs a product over all its segments, whose `right` is not looked at; their rows are rounded. */
export function launchRoundedProduct<P extends Parameters>(
  call: KernelCall,
  { routine }: RoundedProduct<P>,
  matrix: CodesMatrix,
  { codes, scales, panels }: PackedBlocks,
  { segments, leftStride = 0, gathered = false, out, outStride }: ProductLaunch,
  more: LaunchArguments<P>,
): void {
  const jobs = cutJobs(segments);
  if (jobs.length === 0) return;
  const scratchBytes = TILE_HEIGHT.halves * SUMS_BYTES;
  const args: LaunchArguments<ProductParameters & RoundedParameters> = {
    jobs: writeJobs(call, jobs),
    leftStride,
    gathered: gathered ? 1 : 0,
    out,
    outStride,
    codes,
    scales,
    panels,
    blocks: blocksOf(matrix),
    halves: holdsHalves(matrix) ? 1 : 0,
    scratch: call.temporary(jobs.length * scratchBytes),
    scratchBytes,
  };
  call.launch(
    routine,
    { ...args, ...more } as LaunchArguments<ProductParameters & P & RoundedParameters>,
    jobs.length,
  );
}
