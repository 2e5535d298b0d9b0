import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";

/** Columns of a panel: two vectors. */
export const PANEL = 8;
/** Bytes of one k of a panel. */
export const PANEL_ROW_BYTES = 32;
/** The most rows of a tile. 6 × 8 sums, two vectors of the panel and one of the rows fill 15 registers. */
export const TILE_ROWS = 6;

/** The size of a tile: rows, and panels of {@link PANEL} columns. */
export interface TileSize {
  readonly height: number;
  readonly panels: number;
}

/** Sums of products: four columns of a row in each vector, all of them locals. */
export type Sums = readonly (readonly F32x4[])[];

/**
 * How a tile reads the left factor, element (row r, step k). `rows`: from an address for each row, on
 * which the row's elements lie one after the other. `packed`: from one address, on which
 * {@link TILE_ROWS} rows lie side by side for each k.
 */
export type LeftLayout = "rows" | "packed";

/** Bytes of one k of a packed left factor. */
export const PACKED_STEP_BYTES: number = TILE_ROWS * 4;

/** The factors of a tile. All addresses are locals, and are changed. */
export interface TileFactors {
  readonly layout: LeftLayout;
  /** An address for each row (`rows`), or one (`packed`). */
  readonly left: readonly I32[];
  /** An address for each panel. */
  readonly right: readonly I32[];
  /** Memory that is needed later, and touched on the way so that it comes to the cache. */
  readonly ahead?: Ahead | undefined;
}

/** An address, a local that is changed, and the bytes from one round of {@link UNROLL} steps to the next. */
export interface Ahead {
  readonly address: I32;
  readonly step: I32;
}

/** Steps of k in one round of the loop. */
export const UNROLL = 4;

/** Sums that begin at zero. */
export function zeroSums(body: Body, { height, panels }: TileSize): Sums {
  return Array.from({ length: height }, () =>
    Array.from({ length: panels * 2 }, () => body.let(F32x4.const(0))),
  );
}

/**
 * Adds `count` products to each sum of a tile, in ascending k, one after the other: the order, and so
 * the bits of a sum, are the same for tiles of every size.
 */
export function addProducts(body: Body, sums: Sums, factors: TileFactors, count: I32): void {
  if (!body.instructions.fused) {
    addSingly(body, sums, factors, count);
    return;
  }
  const rounds = body.let(count.shrU(Math.log2(UNROLL)));
  const rest = body.let(count.and(UNROLL - 1));
  addRounds(body, sums, factors, rounds, UNROLL);
  addRounds(body, sums, factors, rest, 1);
}

function addRounds(
  body: Body,
  sums: Sums,
  factors: TileFactors,
  rounds: I32,
  unroll: number,
): void {
  const { ahead } = factors;
  const leftStep = factors.layout === "rows" ? 4 : PACKED_STEP_BYTES;
  body.if(rounds, () =>
    body.repeat(() => {
      if (ahead && unroll > 1) {
        body.drop(I32.load8U(ahead.address));
        body.increment(ahead.address, ahead.step);
      }
      for (let step = 0; step < unroll; step++) addStep(body, sums, factors, step);
      for (const address of factors.left) body.increment(address, leftStep * unroll);
      for (const address of factors.right) body.increment(address, PANEL_ROW_BYTES * unroll);
      body.increment(rounds, -1);
      return rounds;
    }),
  );
}

/**
 * One step in a round. Engines too old for fused products load all that a round needs before they add,
 * and have no registers for more than one step; newer ones lose a little by it.
 */
function addSingly(body: Body, sums: Sums, factors: TileFactors, count: I32): void {
  const rounds = body.let(count);
  const offset = body.int(0);
  const step = factors.layout === "rows" ? 4 : PACKED_STEP_BYTES;
  body.if(rounds, () =>
    body.repeat(() => {
      const left = factors.left.map((address) => address.add(offset));
      addStep(body, sums, { ...factors, left }, 0);
      for (const address of factors.right) body.increment(address, PANEL_ROW_BYTES);
      body.increment(offset, step);
      body.increment(rounds, -1);
      return rounds;
    }),
  );
}

/** Rows that stay in registers while the vectors of several panels stream by. */
const HELD_ROWS = 2;

/** Products of one k. */
function addStep(body: Body, sums: Sums, factors: TileFactors, step: number): void {
  const row = (index: number): F32x4 => body.let(loadLeft(factors, index, step));
  const column = (panel: I32, half: number): F32x4 =>
    body.let(F32x4.load(panel, step * PANEL_ROW_BYTES + half * 16));
  const held =
    sums.length <= HELD_ROWS && factors.right.length > 1 ? sums.map((_, index) => row(index)) : [];
  for (const [number, panel] of factors.right.entries()) {
    const sumsOf = (index: number, half: number): F32x4 =>
      sums[index]?.[number * 2 + half] ?? missing();
    if (held.length > 0) {
      for (const half of [0, 1]) {
        const b = column(panel, half);
        for (const [index, a] of held.entries()) add(body, sumsOf(index, half), a, b);
      }
    } else {
      const columns = [column(panel, 0), column(panel, 1)];
      for (const index of sums.keys()) {
        const a = row(index);
        for (const [half, b] of columns.entries()) add(body, sumsOf(index, half), a, b);
      }
    }
  }
}

function loadLeft({ layout, left }: TileFactors, row: number, step: number): F32x4 {
  if (layout === "rows") return F32x4.loadSplat(left[row] ?? missing(), step * 4);
  return F32x4.loadSplat(left[0] ?? missing(), step * PACKED_STEP_BYTES + row * 4);
}

function add(body: Body, sum: F32x4, a: F32x4, b: F32x4): void {
  body.set(sum, body.madd(a, b, sum));
}

function missing(): never {
  throw new TypeError("a tile has no such row or panel");
}
