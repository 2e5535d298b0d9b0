import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I16x8, I32x4, I8x16, shuffle } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";

/** Numbers of a block, which share a step. */
export const BLOCK = 32;
/** The largest magnitude of a block becomes so many steps. */
const STEPS = 127;

/**
 * A block of a rounded row: its numbers in steps, a byte each; the step, a float; and what sums of
 * products with codes begin with, so that codes count from their zero: two 16-bit sums, of the
 * numbers in places 0 and 1 of each four, and of those in places 2 and 3.
 */
export const ROUNDED: Readonly<Record<"step" | "start" | "bytes", number>> = {
  step: BLOCK,
  start: BLOCK + 4,
  bytes: BLOCK + 8,
};

/** Code of 0 in the four bits that sums of products are made of. */
const ZERO = 8;
/** Numbers that one task rounds, about. */
const GRAIN = 16_384;

const PARAMETERS = {
  /** Address of the first row, bytes to the next, and rows in all and of a task. */
  from: I32,
  stride: I32,
  rows: I32,
  share: I32,
  /** Blocks of a row. */
  blocks: I32,
  to: I32,
} as const;

/** Rounds rows block by block. Halves go to even; of a block with a NaN or an infinity the step is none either. */
const roundRows: Routine<typeof PARAMETERS> = /*#__PURE__*/ defineRoutine(
  "roundRows",
  PARAMETERS,
  (body, { from, stride, rows, share, blocks, to }, task) => {
    const first = body.let(task.mul(share));
    const end = body.let(first.add(share));
    body.set(end, end.minU(rows));
    const target = body.let(to.add(first.mul(blocks).mul(ROUNDED.bytes)));
    body.for(first, end, 1, (row) => {
      const source = body.let(from.add(row.mul(stride)));
      body.for(0, blocks, 1, () => {
        roundBlock(body, source, target);
        body.increment(source, BLOCK * 4);
        body.increment(target, ROUNDED.bytes);
      });
    });
  },
);

function roundBlock(body: Body, from: I32, to: I32): void {
  const numbers = Array.from({ length: BLOCK / 4 }, (_, index) =>
    body.let(F32x4.load(from, index * 16)),
  );
  const most = body.let(F32x4.const(0));
  for (const number of numbers) body.set(most, most.max(number.abs()));
  for (const lanes of [2, 1]) {
    const places = Array.from({ length: 16 }, (_, place) => (place + lanes * 4) % 16);
    body.set(most, most.max(shuffle(most, most, places, F32x4)));
  }
  const step = body.let(most.div(F32x4.const(STEPS)));
  const words = numbers.map((number) => body.let(number.div(step).nearest().toI32x4()));
  const shorts = pairsOf(words).map(([low, high]) => body.let(I16x8.narrowed(low, high)));
  const bytes = pairsOf(shorts).map(([low, high]) => body.let(I8x16.narrowed(low, high)));
  for (const [index, vector] of bytes.entries()) body.store(to, vector, index * 16);
  body.store(to, step.lane(0), ROUNDED.step);
  body.store(to, startOf(body, bytes), ROUNDED.start);
}

/** −{@link ZERO} times the sums of the places of a block, as {@link ROUNDED} holds them. */
function startOf(body: Body, bytes: readonly I8x16[]): I32 {
  const sums = body.let(I16x8.splat(0));
  for (const vector of bytes) body.set(sums, sums.add(vector.pairSums()));
  for (const lanes of [4, 2]) {
    const places = Array.from({ length: 16 }, (_, place) => (place + lanes * 2) % 16);
    body.set(sums, sums.add(shuffle(sums, sums, places, I16x8)));
  }
  return sums.mul(I16x8.splat(-ZERO)).as(I32x4).lane(0);
}

function pairsOf<V>(values: readonly V[]): (readonly [V, V])[] {
  return Array.from({ length: values.length / 2 }, (_, index) => {
    const [low, high] = values.slice(2 * index, 2 * index + 2) as [V, V];
    return [low, high] as const;
  });
}

/** Rows in bytes and steps, one after the other. */
export interface RoundedRows {
  readonly address: number;
  /** Bytes of a row. */
  readonly stride: number;
}

/** Rounds `rows` of `inner` floats, which are whole blocks, for this call. */
export function roundedRows(
  call: KernelCall,
  { address, stride }: { readonly address: number; readonly stride: number },
  rows: number,
  inner: number,
): RoundedRows {
  const blocks = inner / BLOCK;
  const bytes = blocks * ROUNDED.bytes;
  const to = call.temporary(rows * bytes);
  const share = Math.max(1, Math.floor(GRAIN / Math.max(1, inner)));
  const args = { from: address, stride, rows, share, blocks, to };
  call.launch(roundRows, args, Math.ceil(rows / share));
  return { address: to, stride: bytes };
}

/** Routines of this file. */
export const roundRoutines: readonly Routine[] = [roundRows];
