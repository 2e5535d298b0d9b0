import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { KernelCall } from "../../kernel.ts";
import {
  type Arguments,
  type LaunchArguments,
  type Parameters,
  type Routine,
  defineRoutine,
} from "../../routine.ts";
import { type Segment, cutJobs, jobAddress, jobWord, writeJobs } from "./job.ts";
import {
  type Place,
  type ProductDefinition,
  type ProductParameters,
  PRODUCT_PARAMETERS,
  callSweep,
  defineSweep,
} from "./sweep.ts";
import { type LeftLayout, type TileSize, PANEL, TILE_ROWS } from "./tile.ts";
import { addPanel, callHeight, planTiles } from "./tile-plan.ts";

/** A matrix product with an epilogue. */
export interface Product<P extends Parameters> {
  readonly routine: Routine<ProductParameters & P>;
  readonly layout: LeftLayout;
  /** Tiles of one panel, by height. */
  readonly narrow: readonly Subroutine[];
}

/** Panels that tiles of so many rows take at a time, so that enough sums are on their way. */
const WIDE_PANELS: readonly number[] = [0, 4, 3, 2];

/** Defines a product: its routine does one job, in tiles of up to {@link TILE_ROWS} rows. */
export function defineProduct<P extends Parameters>(definition: ProductDefinition<P>): Product<P> {
  const { name, layout } = definition;
  const parameters = { ...PRODUCT_PARAMETERS, ...definition.parameters };
  const define = (tiles: TileSize): Subroutine => defineSweep(definition, parameters, tiles);
  const narrow = Array.from({ length: TILE_ROWS }, (_, index) =>
    define({ height: index + 1, panels: 1 }),
  );
  const wide = WIDE_PANELS.map((panels, height) =>
    panels > 0 ? define({ height, panels }) : undefined,
  );
  const routine = defineRoutine<ProductParameters & P>(name, parameters, (body, args, task) => {
    const job = body.let(jobAddress((args as Arguments<ProductParameters>).jobs, task));
    if (layout === "rows") rowByRow(body, job, { narrow, wide });
    else panelByPanel(body, job, narrow);
  });
  return { routine, layout, narrow };
}

interface Sweeps {
  readonly narrow: readonly Subroutine[];
  /** By height. */
  readonly wide: readonly (Subroutine | undefined)[];
}

/** All of a job, panel by panel, and in each from top to bottom: a panel stays in the first cache. */
function rowByRow(body: Body, job: I32, sweeps: Sweeps): void {
  const rows = jobWord(body, job, "rows");
  const columns = jobWord(body, job, "columns");
  const plan = planTiles(body, rows);
  const panel = body.int(0);
  addWide(body, sweeps, { job, rows, columns, panel });
  body.while(
    () => panel.mul(PANEL).ltU(columns),
    () => {
      addPanel(body, sweeps.narrow, plan, { job, panel });
      body.increment(panel, 1);
    },
  );
}

/** All of a job, tile by tile of the left factor, and with each from panel to panel: output is written along. */
function panelByPanel(body: Body, job: I32, narrow: readonly Subroutine[]): void {
  const rows = jobWord(body, job, "rows");
  const count = body.let(
    jobWord(body, job, "columns")
      .add(PANEL - 1)
      .divU(PANEL),
  );
  body.for(0, rows, TILE_ROWS, (row) => {
    const height = body.let(rows.sub(row));
    body.set(height, height.select(height.ltU(TILE_ROWS), I32.const(TILE_ROWS)));
    callHeight(body, narrow, height, { job, panel: I32.const(0), row, count });
  });
}

/** Few rows: several panels at a time, as long as there are so many. */
function addWide(
  body: Body,
  { wide }: Sweeps,
  place: Place & { readonly rows: I32; readonly columns: I32 },
): void {
  const { rows, columns, panel } = place;
  for (const [height, subroutine] of wide.entries()) {
    const panels = WIDE_PANELS[height] ?? 0;
    if (subroutine === undefined) continue;
    body.if(rows.eq(height), () =>
      body.while(
        () => panel.add(panels).mul(PANEL).leU(columns),
        () => {
          callSweep(body, subroutine, { ...place, row: I32.const(0), count: I32.const(1) });
          body.increment(panel, panels);
        },
      ),
    );
  }
}

/** Arguments of a launch beside those of the epilogue. */
export interface ProductLaunch {
  readonly segments: readonly Segment[];
  /** Bytes from one row of the left factor to the next; not needed where it is packed or gathered. */
  readonly leftStride?: number | undefined;
  /** Whether the segments' `left` is in a table of rows' addresses. */
  readonly gathered?: boolean | undefined;
  /** Address and row length in bytes of what the epilogue writes. */
  readonly out: number;
  readonly outStride: number;
}

/** Runs a product over all its segments. */
export function launchProduct<P extends Parameters>(
  call: KernelCall,
  { routine, layout }: Product<P>,
  { segments, leftStride = 0, gathered = false, out, outStride }: ProductLaunch,
  more: LaunchArguments<P>,
): void {
  const jobs = cutJobs(segments, layout);
  if (jobs.length === 0) return;
  const args: LaunchArguments<ProductParameters> = {
    jobs: writeJobs(call, jobs),
    leftStride,
    gathered: gathered ? 1 : 0,
    out,
    outStride,
  };
  call.launch(routine, { ...args, ...more } as LaunchArguments<ProductParameters & P>, jobs.length);
}
