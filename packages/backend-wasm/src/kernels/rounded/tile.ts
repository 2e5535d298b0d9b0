import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I16x8, I8x16 } from "../../emit/vectors.ts";
import { GROUP, GROUPS, LANES, SCALES_BYTES, groupBytes } from "./pack.ts";
import { ROUNDED } from "./rows.ts";

/** The most rows of a tile: of 4-bit codes, and of bytes, which need twice as many sums. */
export const TILE_HEIGHT: Readonly<Record<"halves" | "bytes", number>> = { halves: 4, bytes: 3 };
/** Bytes of the sums of a row: a float for each column of a panel. */
export const SUMS_BYTES: number = LANES * 2 * 4;

const NAMES = ["codes", "scales", "blocks", "to"] as const;

/** What a tile is called with, all of them words. */
export interface TileArguments {
  /** Addresses of a panel's codes and of its scales. */
  readonly codes: I32;
  readonly scales: I32;
  /** Blocks of the panel, not 0. */
  readonly blocks: I32;
  /** Where the sums go, row by row. */
  readonly to: I32;
  /** Addresses of the rounded rows. */
  readonly rows: readonly I32[];
}

/**
 * Rounded rows times one panel of codes. Of each block the products of whole numbers are added up
 * exactly; then the sum, times the row's step and the column's scale, is added to those of earlier
 * blocks. By the number of rows less one.
 */
const tiles: Readonly<Record<"halves" | "bytes", readonly Subroutine[]>> = {
  halves: /*#__PURE__*/ Array.from({ length: TILE_HEIGHT.halves }, (_, index) =>
    defineTile(index + 1, true),
  ),
  bytes: /*#__PURE__*/ Array.from({ length: TILE_HEIGHT.bytes }, (_, index) =>
    defineTile(index + 1, false),
  ),
};

/** Calls the tile of as many rows as there are. */
export function callTile(body: Body, held: "halves" | "bytes", args: TileArguments): void {
  const tile = tiles[held][args.rows.length - 1];
  if (tile === undefined) throw new TypeError("there is no tile of so many rows");
  body.callSubroutine(tile, [...NAMES.map((name) => args[name]), ...args.rows]);
}

function defineTile(height: number, halves: boolean): Subroutine {
  const count = NAMES.length + height;
  return {
    name: `rounded${halves ? "Halves" : "Bytes"}${height}`,
    parameters: Array.from({ length: count }, () => "i32"),
    write(body) {
      const words = Array.from({ length: count }, (_, index) => body.parameter(I32, index));
      const [codes, scales, blocks, to, ...rows] = words as [I32, I32, I32, I32, ...I32[]];
      const sums = rows.map(() => [0, 1].map(() => body.let(F32x4.const(0))));
      const low = body.let(I8x16.splat(15));
      body.repeat(() => {
        const totals = (halves ? addHalves : addBytes)(body, rows, codes, low);
        const scale = [0, 1].map((half) => body.let(F32x4.load(scales, half * 16)));
        for (const [index, row] of rows.entries()) {
          const step = body.let(F32x4.loadSplat(row, ROUNDED.step));
          for (const half of [0, 1]) {
            const [sum, total, own] = [sums[index]?.[half], totals[index]?.[half], scale[half]];
            if (sum && total && own) body.set(sum, body.madd(total, step.mul(own), sum));
          }
          body.increment(row, ROUNDED.bytes);
        }
        body.increment(codes, GROUPS * groupBytes(halves));
        body.increment(scales, SCALES_BYTES);
        body.increment(blocks, -1);
        return blocks;
      });
      for (const [index, sum] of sums.flat().entries()) body.store(to, sum, index * 16);
    },
  };
}

/** The sums of a block, two vectors of each row, of codes whose halves are two columns' numbers. */
function addHalves(body: Body, rows: readonly I32[], codes: I32, low: I8x16): F32x4[][] {
  const totals = rows.map((row) => [startOf(body, row), startOf(body, row)]);
  eachGroup(body, codes, groupBytes(true), (group, vector) => {
    const numbers = halvesOf(body, vector(0), low);
    eachRow(body, rows, group, (index, x) => {
      for (const [half, number] of numbers.entries()) addTo(body, totals[index]?.[half], x, number);
    });
  });
  return totals.map((row) => row.map((total) => body.let(total.pairSums().toF32x4())));
}

/** The same, of whole bytes: their high halves count sixteenfold, and from their zero. */
function addBytes(body: Body, rows: readonly I32[], codes: I32, low: I8x16): F32x4[][] {
  const totals = rows.map((row) =>
    [0, 1].map(() => [body.let(I16x8.splat(0)), startOf(body, row)] as const),
  );
  eachGroup(body, codes, groupBytes(false), (group, vector) => {
    for (const half of [0, 1]) {
      const numbers = halvesOf(body, vector(half), low);
      eachRow(body, rows, group, (index, x) => {
        for (const [place, number] of numbers.entries()) {
          addTo(body, totals[index]?.[half]?.[place], x, number);
        }
      });
    }
  });
  return totals.map((row) =>
    row.map(([lows, highs]) => body.let(highs.pairSums().shl(4).add(lows.pairSums()).toF32x4())),
  );
}

function startOf(body: Body, row: I32): I16x8 {
  return body.let(I8x16.load32Splat(row, ROUNDED.start).as(I16x8));
}

/** Visits a block's groups of four ks: their number, and how a vector of their codes is loaded. */
function eachGroup(
  body: Body,
  codes: I32,
  bytes: number,
  visit: (group: number, vector: (index: number) => I8x16) => void,
): void {
  for (let group = 0; group < GROUPS; group++) {
    visit(group, (index) => body.let(I8x16.load(codes, group * bytes + index * 16)));
  }
}

/** The low and the high halves of codes. */
function halvesOf(body: Body, codes: I8x16, low: I8x16): readonly [I8x16, I8x16] {
  const high = codes.as(I16x8).shrU(4).as(I8x16).and(low);
  return [body.let(codes.and(low)), body.let(high)];
}

/** The four numbers of a group, of each row. */
function eachRow(
  body: Body,
  rows: readonly I32[],
  group: number,
  visit: (index: number, x: I8x16) => void,
): void {
  for (const [index, row] of rows.entries()) {
    visit(index, body.let(I8x16.load32Splat(row, group * GROUP)));
  }
}

function addTo(body: Body, total: I16x8 | undefined, x: I8x16, number: I8x16): void {
  if (total) body.set(total, total.add(body.dotPairs(x, number)));
}
