import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, shuffle } from "../../emit/vectors.ts";
import { storeRows } from "../products/index.ts";

/** Numbers of a gate and of what it gates; locals. */
export interface HalfVectors {
  readonly gate: F32x4;
  readonly up: F32x4;
}

const EVEN = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD: readonly number[] = /*#__PURE__*/ EVEN.map((place) => place + 4);

/** Loads four gates and what they gate, which lie in turns. */
export function loadTurns(body: Body, row: I32, upFirst: I32, column: I32): HalfVectors {
  const from = body.let(row.add(column.shl(3)));
  const low = body.let(F32x4.load(from));
  const high = body.let(F32x4.load(from, 16));
  const gate = body.let(shuffle(low, high, EVEN, F32x4));
  const up = body.let(shuffle(low, high, ODD, F32x4));
  body.if(upFirst.eq(0), () => swap(body, gate, up));
  return { gate, up };
}

/** Stores what {@link loadTurns} loads: `count` of them where it is given, else four. */
export function storeBackTurns(
  body: Body,
  row: I32,
  upFirst: I32,
  column: I32,
  { gate, up }: HalfVectors,
  count: I32 = I32.const(4),
): void {
  const first = body.let(gate);
  const second = body.let(up);
  body.if(upFirst.eq(0), () => swap(body, first, second));
  storeTurns(body, [body.let(row.add(column.shl(3)))], [[first, second]], count);
}

function swap(body: Body, a: F32x4, b: F32x4): void {
  const kept = body.let(a);
  body.set(a, b);
  body.set(b, kept);
}

const LOW_TURNS = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const HIGH_TURNS: readonly number[] = /*#__PURE__*/ LOW_TURNS.map((place) => place + 8);

/**
 * Stores up to four pairs of each row, one number of each half in turn. Addresses are locals, and are
 * changed.
 */
export function storeTurns(
  body: Body,
  addresses: readonly I32[],
  rows: readonly (readonly [first: F32x4, second: F32x4])[],
  pairs: I32,
): void {
  const vectors = rows.map(([first, second]) => [
    body.let(shuffle(first, second, LOW_TURNS, F32x4)),
    body.let(shuffle(first, second, HIGH_TURNS, F32x4)),
  ]);
  storeRows(body, addresses, vectors, body.let(pairs.shl(1)));
}
