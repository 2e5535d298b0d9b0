import type { DType } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Arguments, type Routine, defineRoutine } from "../../routine.ts";
import { keyOf } from "../reduction/keys.ts";
import { paddedBytes, wordAt } from "../reduction/lanes.ts";

/** Up to so many elements are sorted by insertion; more are by their digits. */
const INSERTED = 64;
/** Digits of a key, and the places of one. */
const DIGITS = 4;
const DIGIT_BITS = 8;
const PLACES = 2 ** DIGIT_BITS;
const COUNTS_BYTES = DIGITS * PLACES * 4;
/** Elements of one task. */
const GRAIN = 2048;
/** Tasks of one launch, each of which has its own room. */
const MOST_TASKS = 64;

const PARAMETERS = {
  from: I32,
  mask: I32,
  order: I32,
  values: I32,
  width: I32,
  kept: I32,
  rows: I32,
  perTask: I32,
  room: I32,
  roomBytes: I32,
  /** Bytes of one array of the room. */
  arrayBytes: I32,
  isFloat: I32,
  flip: I32,
} as const;

/** Keys with their indices, as arrays in memory. */
interface Pairs {
  readonly keys: I32;
  readonly indices: I32;
}

type SortArguments = Arguments<typeof PARAMETERS>;

const sortedRows = /*#__PURE__*/ defineRoutine("sortedRows", PARAMETERS, (body, args, task) => {
  const { width, kept, arrayBytes } = args;
  const room = body.let(args.room.add(task.mul(args.roomBytes)));
  const counts = body.let(room.add(arrayBytes.shl(2)));
  const first = body.let(task.mul(args.perTask));
  const last = body.let(first.add(args.perTask));
  body.set(last, last.minU(args.rows));
  body.for(first, last, 1, (row) => {
    const start = body.let(row.mul(width).shl(2));
    const source = { from: body.let(args.from.add(start)), mask: body.let(args.mask.add(start)) };
    const order = body.let(wordAt(args.order, row.mul(kept)));
    const pairsAt = (place: I32): Pairs => {
      const keys = body.let(place);
      return { keys, indices: body.let(keys.add(arrayBytes)) };
    };
    const pairs = pairsAt(room);
    const shown = body.let(readPairs(body, args, source, pairs));
    body.if(
      shown.leU(INSERTED),
      () => sortByInsertion(body, pairs, shown),
      () => sortByDigits(body, pairs, pairsAt(room.add(arrayBytes.shl(1))), shown, counts),
    );
    body.set(shown, shown.minU(kept));
    body.copy(order, pairs.indices, shown.shl(2));
    body.if(args.mask, () => appendHidden(body, args, source, { order, shown }));
    body.if(args.values, () => {
      const values = body.let(wordAt(args.values, row.mul(kept)));
      body.for(0, kept, 1, (place) => {
        const chosen = I32.load(wordAt(order, place));
        body.store(wordAt(values, place), I32.load(wordAt(source.from, chosen)));
      });
    });
  });
});

/** A row and its mask; the latter's address means nothing where there is none. */
interface Source {
  readonly from: I32;
  readonly mask: I32;
}

function isHidden(args: SortArguments, { mask }: Source, index: I32): I32 {
  return args.mask.ne(0).and(I32.load(wordAt(mask, index)).eq(0));
}

/** Writes down what is not hidden; their number. */
function readPairs(body: Body, args: SortArguments, source: Source, pairs: Pairs): I32 {
  const shown = body.int(0);
  body.for(0, args.width, 1, (index) => {
    body.if(isHidden(args, source, index).not(), () => {
      const place = wordAt(source.from, index);
      const key = body.let(I32.load(place));
      body.if(args.isFloat, () => body.set(key, keyOf(body, F32.load(place))));
      body.store(wordAt(pairs.keys, shown), key.xor(args.flip));
      body.store(wordAt(pairs.indices, shown), index);
      body.increment(shown, 1);
    });
  });
  return shown;
}

/** Puts hidden elements behind the `shown` ones, as far as there is room. */
function appendHidden(
  body: Body,
  args: SortArguments,
  source: Source,
  { order, shown }: { readonly order: I32; readonly shown: I32 },
): void {
  body.for(0, args.width, 1, (index) => {
    body.if(isHidden(args, source, index).and(shown.ltU(args.kept)), () => {
      body.store(wordAt(order, shown), index);
      body.increment(shown, 1);
    });
  });
}

function sortByInsertion(body: Body, { keys, indices }: Pairs, count: I32): void {
  const toIndex = body.let(indices.sub(keys));
  body.for(1, count, 1, (index) => {
    const place = body.let(wordAt(keys, index));
    const key = body.let(I32.load(place));
    const own = body.let(I32.load(place.add(toIndex)));
    body.while(
      () => place.gtU(keys).and(I32.load(place.sub(4)).gtU(key)),
      () => {
        body.store(place, I32.load(place.sub(4)));
        body.store(place.add(toIndex), I32.load(place.add(toIndex).sub(4)));
        body.increment(place, -4);
      },
    );
    body.store(place, key);
    body.store(place.add(toIndex), own);
  });
}

/** Counts all digits at once, then moves pairs by one digit after another, the lowest first. */
function sortByDigits(body: Body, pairs: Pairs, other: Pairs, count: I32, counts: I32): void {
  body.fillBytes(counts, 0, COUNTS_BYTES);
  const placeOf = (key: I32, digit: number): I32 =>
    wordAt(counts, key.shrU(digit * DIGIT_BITS).and(PLACES - 1)).add(digit * PLACES * 4);
  body.for(0, count, 1, (index) => {
    const key = body.let(I32.load(wordAt(pairs.keys, index)));
    for (let digit = 0; digit < DIGITS; digit++) {
      const place = body.let(placeOf(key, digit));
      body.store(place, I32.load(place).add(1));
    }
  });
  const digit = body.int(0);
  body.repeat(() => {
    const table = body.let(counts.add(digit.mul(PLACES * 4)));
    const shift = body.let(digit.mul(DIGIT_BITS));
    const counterOf = (key: I32): I32 => wordAt(table, key.shrU(shift).and(PLACES - 1));
    // Where all have one digit nothing moves.
    body.if(I32.load(counterOf(I32.load(pairs.keys))).ne(count), () => {
      moveByDigit(body, pairs, other, { count, table, counterOf });
      swap(body, pairs.keys, other.keys);
      swap(body, pairs.indices, other.indices);
    });
    body.increment(digit, 1);
    return digit.ltU(DIGITS);
  });
}

function moveByDigit(
  body: Body,
  pairs: Pairs,
  other: Pairs,
  {
    count,
    table,
    counterOf,
  }: {
    readonly count: I32;
    readonly table: I32;
    readonly counterOf: (key: I32) => I32;
  },
): void {
  const before = body.int(0);
  body.for(0, PLACES, 1, (place) => {
    const address = body.let(wordAt(table, place));
    const own = body.let(I32.load(address));
    body.store(address, before);
    body.increment(before, own);
  });
  body.for(0, count, 1, (index) => {
    const key = body.let(I32.load(wordAt(pairs.keys, index)));
    const counter = body.let(counterOf(key));
    const place = body.let(I32.load(counter));
    body.store(counter, place.add(1));
    body.store(wordAt(other.keys, place), key);
    body.store(wordAt(other.indices, place), I32.load(wordAt(pairs.indices, index)));
  });
}

function swap(body: Body, a: I32, b: I32): void {
  const before = body.let(a);
  body.set(a, b);
  body.set(b, before);
}

/** Rows to be sorted, all of one length. */
export interface SortSource {
  readonly from: number;
  /** Address of bools, or 0. */
  readonly mask: number;
  readonly dtype: DType;
  readonly width: number;
  readonly rows: number;
}

/** Where the order goes, and what of it. */
export interface SortTarget {
  readonly order: number;
  /** How many places of each row are wanted. */
  readonly kept: number;
  /** Where the elements in those places go, or 0. */
  readonly values: number;
  readonly descending: boolean;
}

/** The order of rows, equals by their index, what a mask hides behind all others. */
export function sortRows(
  call: KernelCall,
  { from, mask, dtype, width, rows }: SortSource,
  { order, kept, values, descending }: SortTarget,
): void {
  const perTask = Math.max(Math.ceil(GRAIN / width), Math.ceil(rows / MOST_TASKS));
  const tasks = Math.ceil(rows / perTask);
  const arrayBytes = paddedBytes(width);
  const roomBytes = 4 * arrayBytes + COUNTS_BYTES;
  const room = call.temporary(tasks * roomBytes);
  const sign = dtype === "u32" ? 0 : 0x80000000;
  call.launch(
    sortedRows,
    {
      from,
      mask,
      order,
      values,
      width,
      kept,
      rows,
      perTask,
      room,
      roomBytes,
      arrayBytes,
      isFloat: Number(dtype === "f32"),
      flip: (descending ? ~sign : sign) >>> 0,
    },
    tasks,
  );
}

/** `argsort`. */
export const argsort: Kernel = (call) => {
  const { descending = false } = call.attributes<{ descending?: boolean }>();
  const x = call.input(0);
  const mask = call.optional(1)?.address ?? 0;
  const width = x.shape.at(-1) ?? 0;
  const order = call.make(0);
  if (x.size === 0) return [order];
  const source = { from: x.address, mask, dtype: x.dtype, width, rows: x.size / width };
  sortRows(call, source, { order: order.address, kept: width, values: 0, descending });
  return [order];
};

/** Routines of these kernels. */
export const sortRoutines: readonly Routine[] = [sortedRows];
