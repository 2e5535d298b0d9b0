import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { type Words, type Arguments, type Parameters, readArguments } from "../../routine.ts";
import { jobWord } from "./job.ts";
import {
  type Ahead,
  type LeftLayout,
  type Sums,
  type TileSize,
  PANEL,
  PANEL_ROW_BYTES,
  UNROLL,
  addProducts,
  zeroSums,
} from "./tile.ts";

/** A tile whose sums are complete, for its epilogue. Row and column count from the product's first. */
export interface FinishedTile extends TileSize {
  /** `sums[row][vector]`, four columns in each; locals, that the epilogue may change. */
  readonly sums: Sums;
  /** Number of the first row. */
  readonly row: I32;
  /** Number of the first column. */
  readonly column: I32;
  /** Columns that are there from the first on, perhaps more than the tile has; absent: all are. */
  readonly columns: I32 | undefined;
  /** Which matrix it is: the job's `group`. */
  readonly group: I32;
}

/** What is done with sums: bias, activation, scale, and storing them. */
export type Epilogue<P extends Parameters> = (
  body: Body,
  tile: FinishedTile,
  args: Arguments<P>,
) => void;

/** What every product is launched with; the epilogue's parameters follow. */
export const PRODUCT_PARAMETERS: Words<"jobs" | "leftStride" | "gathered" | "out" | "outStride"> = {
  /** Address of the jobs. */
  jobs: I32,
  /** Bytes from one row of the left factor to the next (`rows`). */
  leftStride: I32,
  /** Not 0: jobs' `left` is in a table of rows' addresses. */
  gathered: I32,
  /** Address and row length in bytes of what the epilogue writes. */
  out: I32,
  outStride: I32,
};

/** The parameters of every product. */
export type ProductParameters = typeof PRODUCT_PARAMETERS;

/** How a product is defined. */
export interface ProductDefinition<P extends Parameters> {
  /** Name of its routine. */
  readonly name: string;
  readonly layout: LeftLayout;
  /** More parameters, for the epilogue. */
  readonly parameters: P;
  readonly epilogue: Epilogue<ProductParameters & P>;
}

/** A panel of a job. */
export interface Place {
  /** Address of the job. */
  readonly job: I32;
  /** Number of the panel in the job. */
  readonly panel: I32;
}

/** Which tiles of a job: some, one below the other; where the left factor is packed, one beside the other. */
export interface SweepCall extends Place {
  /** First row in the job. */
  readonly row: I32;
  /** Number of tiles, not 0. */
  readonly count: I32;
}

/** What tiles of one size are called with, in the order of the names. */
interface SweepArguments extends SweepCall {
  /** Address of the launch's arguments. */
  readonly args: I32;
}

const SWEEP_NAMES = ["args", "job", "row", "count", "panel"] as const;

/** Defines the subroutine for tiles of one size. */
export function defineSweep<P extends Parameters>(
  definition: ProductDefinition<P>,
  parameters: ProductParameters & P,
  size: TileSize,
): Subroutine {
  return {
    name: `${definition.name}${size.height}x${size.panels * PANEL}`,
    parameters: SWEEP_NAMES.map(() => "i32"),
    write(body) {
      const entries = SWEEP_NAMES.map((name, index) => [name, body.parameter(I32, index)]);
      const given = Object.fromEntries(entries) as unknown as SweepArguments;
      const args = readArguments(body, parameters, given.args) as Arguments<ProductParameters & P>;
      writeSweep(body, definition, args, given, size);
    },
  };
}

function writeSweep<P extends Parameters>(
  body: Body,
  { layout, epilogue }: ProductDefinition<P>,
  args: Arguments<ProductParameters & P>,
  { job, row, count, panel }: SweepArguments,
  size: TileSize,
): void {
  const inner = jobWord(body, job, "inner");
  const panelBytes = body.let(inner.mul(PANEL_ROW_BYTES));
  const right = body.let(jobWord(body, job, "right").add(panel.mul(panelBytes)));
  const first = jobWord(body, job, "row");
  const column = body.let(jobWord(body, job, "column").add(panel.mul(PANEL)));
  const columns = body.let(jobWord(body, job, "columns").sub(panel.mul(PANEL)));
  const group = jobWord(body, job, "group");
  const left = jobWord(body, job, "left");
  const fetching = fetches(body, layout, size)
    ? fetchedPanel(body, job, { right, panelBytes, columns, height: size.height })
    : undefined;
  body.repeat(() => {
    const sums = zeroSums(body, size);
    const factors = {
      layout,
      left:
        layout === "rows"
          ? rowStarts(body, args as Arguments<ProductParameters>, left, row, size.height)
          : [body.let(left.add(row.mul(inner).shl(2)))],
      right: Array.from({ length: size.panels }, (_, index) =>
        body.let(right.add(panelBytes.mul(index))),
      ),
      ahead: fetching && {
        address: body.let(fetching.first.add(fetching.rowBytes.mul(row))),
        step: fetching.step,
      },
    };
    addProducts(body, sums, factors, inner);
    const tile = { ...size, sums, row: body.let(first.add(row)), column, group };
    epilogue(body, { ...tile, columns: size.panels > 1 ? undefined : columns }, args);
    if (layout === "rows") body.increment(row, size.height);
    else {
      body.increment(right, panelBytes);
      body.increment(column, PANEL);
      body.increment(columns, -PANEL);
    }
    body.increment(count, -1);
    return count;
  });
}

/** The lowest tile that fetches: nearly all tiles of a job that reads its panels slowly are as high. */
const FETCHING_HEIGHT = 4;

/**
 * Whether tiles fetch the next panel while they compute. Packed rows meet panels that are cached, and
 * where products are not fused computing takes longer than memory does.
 */
function fetches(body: Body, layout: LeftLayout, { height, panels }: TileSize): boolean {
  const { fused } = body.instructions;
  return fused && layout === "rows" && panels === 1 && height >= FETCHING_HEIGHT;
}

/** A panel that is fetched: each tile takes as much of its memory as it has of the job's rows. */
interface FetchedPanel extends Pick<Ahead, "step"> {
  readonly first: I32;
  /** Bytes that fall to a row. */
  readonly rowBytes: I32;
}

function fetchedPanel(
  body: Body,
  job: I32,
  {
    right,
    panelBytes,
    columns,
    height,
  }: Readonly<Record<"right" | "panelBytes" | "columns", I32>> & {
    readonly height: number;
  },
): FetchedPanel {
  const rows = jobWord(body, job, "rows");
  const ahead = jobWord(body, job, "ahead");
  // Behind the last panel there may be no memory.
  body.if(columns.leU(PANEL), () => body.set(ahead, I32.const(0)));
  return {
    first: body.let(right.add(ahead)),
    rowBytes: body.let(panelBytes.divU(rows)),
    step: body.let(I32.const(height * UNROLL * PANEL_ROW_BYTES).divU(rows)),
  };
}

/** Where `height` rows of a job begin, from `row` on. */
export function rowStarts(
  body: Body,
  { leftStride, gathered }: Pick<Arguments<ProductParameters>, "leftStride" | "gathered">,
  left: I32,
  row: I32,
  height: number,
): I32[] {
  const starts = Array.from({ length: height }, () => body.int(0));
  body.if(
    gathered,
    () => {
      const table = body.let(left.add(row.shl(2)));
      for (const [index, start] of starts.entries()) {
        body.set(start, I32.load(table, index * 4));
      }
    },
    () => {
      const next = body.let(left.add(row.mul(leftStride)));
      for (const start of starts) {
        body.set(start, next);
        body.increment(next, leftStride);
      }
    },
  );
  return starts;
}

/** Calls tiles of one size, in a function whose first parameter is the address of the arguments. */
export function callSweep(body: Body, subroutine: Subroutine, given: SweepCall): void {
  const { job, row, count, panel } = given;
  body.callSubroutine(subroutine, [body.parameter(I32, 0), job, row, count, panel]);
}
