import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { I32x4, shuffle } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { type WalkParameters, type Walked, eachRow, launchWalk, walkParameters } from "../grid.ts";

const NAMES = ["to", "from"] as const;

/** Rows of the target that one block has: so many lines stay in the nearest cache. */
const BLOCK_ROWS = 32;
/** Words of a block in one task. */
const GRAIN = 512;

type TransposeParameters = WalkParameters<"to" | "from"> &
  Readonly<Record<"columnStride" | "rowStride" | "allRows", typeof I32>>;

/**
 * Transposes matrices of words. A row of the walk is a block of up to {@link BLOCK_ROWS} rows of the
 * target, which are neighbours in the source; `columnStride` is the source's from column to column of the
 * target, `rowStride` the target's from row to row.
 */
const transposeWords: Routine<TransposeParameters> = /*#__PURE__*/ defineRoutine(
  "transposeWords",
  { .../*#__PURE__*/ walkParameters(NAMES), columnStride: I32, rowStride: I32, allRows: I32 },
  (body, args, task) => {
    const { columnStride, rowStride, allRows } = args;
    eachRow(body, args, NAMES, task, ({ at, from, to, index }) => {
      const rows = body.let(allRows.sub(index.mul(BLOCK_ROWS)));
      body.set(rows, rows.minU(body.int(BLOCK_ROWS)));
      const block = { body, rows, columnStride, rowStride };
      const source = body.let(at.from.add(from.mul(columnStride)));
      const target = body.let(at.to.add(from.shl(2)));
      const left = body.let(to.sub(from));
      body.while(
        () => left.geU(4),
        () => {
          fourColumns(block, source, target);
          body.increment(source, columnStride.shl(2));
          body.increment(target, 16);
          body.set(left, left.sub(4));
        },
      );
      body.while(
        () => left,
        () => {
          oneColumn(block, source, target, I32.const(0));
          body.increment(source, columnStride);
          body.increment(target, 4);
          body.set(left, left.sub(1));
        },
      );
    });
  },
);

interface Block {
  readonly body: Body;
  readonly rows: I32;
  readonly columnStride: I32;
  readonly rowStride: I32;
}

/** Four columns of the target: tiles of 4 × 4, and the rest row by row. */
function fourColumns(block: Block, from: I32, to: I32): void {
  const { body, rows, columnStride, rowStride } = block;
  const source = body.let(from);
  const target = body.let(to);
  const whole = body.let(rows.and(-4));
  body.for(0, whole, 4, () => {
    const lines = [0, 1, 2, 3].map((column) =>
      body.let(I32x4.load(source.add(columnStride.mul(column)))),
    );
    for (const [row, line] of transposed(body, lines).entries()) {
      body.store(target.add(rowStride.mul(row)), line);
    }
    body.increment(source, 16);
    body.increment(target, rowStride.shl(2));
  });
  for (let column = 0; column < 4; column++) {
    const start = body.let(from.add(columnStride.mul(column)));
    oneColumn(block, start, body.let(to.add(4 * column)), whole);
  }
}

/** One column of the target, from a row on. */
function oneColumn({ body, rows, rowStride }: Block, from: I32, to: I32, first: I32): void {
  const target = body.let(to.add(first.mul(rowStride)));
  body.for(first, rows, 1, (row) => {
    body.store(target, I32.load(from.add(row.shl(2))));
    body.increment(target, rowStride);
  });
}

/** The bytes of a word among those of two vectors. */
function bytesOfWord(word: number): number[] {
  return [0, 1, 2, 3].map((byte) => word * 4 + byte);
}

/** Four vectors as columns instead of rows. */
function transposed(body: Body, lines: readonly I32x4[]): I32x4[] {
  const [a, b, c, d] = lines as [I32x4, I32x4, I32x4, I32x4];
  const pick = (left: I32x4, right: I32x4, words: readonly number[]): I32x4 =>
    body.let(shuffle(left, right, words.flatMap(bytesOfWord), I32x4));
  const [low, high] = [
    [0, 4, 1, 5],
    [2, 6, 3, 7],
  ] as const;
  const [ab, cd] = [pick(a, b, low), pick(c, d, low)];
  const [abHigh, cdHigh] = [pick(a, b, high), pick(c, d, high)];
  const [first, second] = [
    [0, 1, 4, 5],
    [2, 3, 6, 7],
  ] as const;
  return [
    pick(ab, cd, first),
    pick(ab, cd, second),
    pick(abHigh, cdHigh, first),
    pick(abHigh, cdHigh, second),
  ];
}

/**
 * Copies words between arrays whose last axes differ; false where no axis of the source has neighbours.
 * Strides are in bytes.
 */
export function launchTranspose(
  call: KernelCall,
  sizes: readonly number[],
  { to, from }: Readonly<Record<"to" | "from", Walked>>,
): boolean {
  const last = sizes.length - 1;
  const axis = from.strides.indexOf(4);
  if (axis < 0 || axis === last) return false;
  const allRows = sizes[axis] ?? 1;
  const rowStride = to.strides[axis] ?? 0;
  /** Outer axes, then the blocks of rows, then the columns. */
  const arranged = (list: readonly number[], block: number): number[] => [
    ...list.filter((_, other) => other !== axis && other !== last),
    block,
    list[last] ?? 1,
  ];
  launchWalk(
    call,
    transposeWords,
    arranged(sizes, Math.ceil(allRows / BLOCK_ROWS)),
    {
      to: { address: to.address, strides: arranged(to.strides, rowStride * BLOCK_ROWS) },
      from: { address: from.address, strides: arranged(from.strides, 4 * BLOCK_ROWS) },
    },
    { columnStride: from.strides[last] ?? 0, rowStride, allRows },
    { grain: GRAIN },
  );
  return true;
}

/** The routine of this copy. */
export const transposeRoutines: readonly Routine[] = [transposeWords];
