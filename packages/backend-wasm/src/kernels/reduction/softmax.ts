import { type Shape, sizeOf, stridesOf } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { Kernel, KernelCall, Operand } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { log4 } from "../functions/index.ts";
import { paddedBytes, wordAt } from "./lanes.ts";
import { largestOf, softmaxRow, sumOfPowers } from "./softmax-row.ts";

/** Elements of one task. */
const GRAIN = 8192;
/** What a row costs beside its elements, in elements. */
const ROW_COST = 16;

const ROWS = { from: I32, to: I32, width: I32, rows: I32, perTask: I32 } as const;

const softmaxRows = /*#__PURE__*/ defineRoutine("softmaxRows", ROWS, (body, args, task) => {
  eachRow(body, args, task, (row) => {
    const start = body.let(row.mul(args.width).shl(2));
    const from = body.let(args.from.add(start));
    softmaxRow(body, { from, count: args.width }, body.let(args.to.add(start)));
  });
});

const maskedSoftmaxRows = /*#__PURE__*/ defineRoutine(
  "maskedSoftmaxRows",
  { ...ROWS, mask: I32, stride: I32, places: I32 },
  (body, args, task) => {
    eachRow(body, args, task, (row) => {
      const start = body.let(row.mul(args.width).shl(2));
      const from = body.let(args.from.add(start));
      const mask = body.let(args.mask.add(row.mul(args.stride)));
      body.if(args.places, () => body.set(mask, I32.load(wordAt(args.places, row))));
      softmaxRow(body, { from, count: args.width, mask }, body.let(args.to.add(start)));
    });
  },
);

const logSumExpRows = /*#__PURE__*/ defineRoutine("logSumExpRows", ROWS, (body, args, task) => {
  eachRow(body, args, task, (row) => {
    const from = body.let(wordAt(args.from, row.mul(args.width)));
    const span = { from, count: args.width };
    const largest = largestOf(body, span);
    const sum = sumOfPowers(body, span, largest);
    const result = log4(body, sum).add(largest);
    body.store(wordAt(args.to, row), result.lane(0));
  });
});

/** Routines of these kernels. */
export const softmaxRoutines: readonly Routine[] = [softmaxRows, maskedSoftmaxRows, logSumExpRows];

function eachRow(
  body: Body,
  { rows, perTask }: { readonly rows: I32; readonly perTask: I32 },
  task: I32,
  visit: (row: I32) => void,
): void {
  const first = body.let(task.mul(perTask));
  const last = body.let(first.add(perTask));
  body.set(last, last.minU(rows));
  body.for(first, last, 1, visit);
}

/** `softmax`. */
export const softmax: Kernel = (call) => {
  const x = call.input(0);
  const mask = call.optional(1);
  const width = x.shape.at(-1) ?? 0;
  const output = call.reuse(0, 1);
  if (x.size === 0) return [output];
  const { tasks, ...cut } = rowsOf(x.size / width, width);
  const hides = mask && maskRows(call, mask, x.shape);
  const args = { from: x.address, to: output.address, width, ...cut };
  if (hides) call.launch(maskedSoftmaxRows, { ...args, ...hides }, tasks);
  else call.launch(softmaxRows, args, tasks);
  return [output];
};

/** `logSumExp`. */
export const logSumExp: Kernel = (call) => {
  const x = call.input(0);
  const width = x.shape.at(-1) ?? 0;
  const output = call.make(0);
  const { tasks, ...cut } = rowsOf(call.outputSize(0), width);
  call.launch(logSumExpRows, { from: x.address, to: output.address, width, ...cut }, tasks);
  return [output];
};

interface RowCut {
  readonly rows: number;
  readonly perTask: number;
  readonly tasks: number;
}

function rowsOf(rows: number, width: number): RowCut {
  const perTask = Math.max(1, Math.floor(GRAIN / (width + ROW_COST)));
  return { rows, perTask, tasks: Math.ceil(rows / perTask) };
}

/** Where each row of a mask is that broadcasts to `shape`: at a stride, or by a table of addresses. */
function maskRows(
  call: KernelCall,
  mask: Operand,
  shape: Shape,
): { readonly mask: number; readonly stride: number; readonly places: number } {
  const width = shape.at(-1) ?? 1;
  const rows = sizeOf(shape) / width;
  if ((mask.shape.at(-1) ?? 1) === width) {
    if (mask.size === width) return { mask: mask.address, stride: 0, places: 0 };
    if (mask.size === width * rows) return { mask: mask.address, stride: 4 * width, places: 0 };
  }
  const places = call.temporary(4 * rows);
  const isWide = mask.shape.at(-1) === width && width > 1;
  const bools = isWide ? undefined : constantRows(call, width);
  const starts = rowStarts(mask.shape.slice(0, -1), shape.slice(0, -1));
  const { view } = call;
  for (const [row, start] of starts.entries()) {
    const place = bools
      ? view.getUint32(mask.address + 4 * start, true) === 0
        ? bools.none
        : bools.all
      : mask.address + 4 * width * start;
    view.setUint32(places + 4 * row, place, true);
  }
  return { mask: mask.address, stride: 0, places };
}

/** A row of false and one of true, for masks that hide whole rows. */
function constantRows(
  call: KernelCall,
  width: number,
): { readonly none: number; readonly all: number } {
  const bytes = paddedBytes(width);
  const none = call.temporary(2 * bytes);
  const { ownView: view } = call;
  for (let word = 0; word < bytes / 4; word++) {
    view.setUint32(none + 4 * word, 0, true);
    view.setUint32(none + bytes + 4 * word, 1, true);
  }
  return { none, all: none + bytes };
}

/** For each place of `to`, in row-major order, that of a shape which broadcasts to it. */
function rowStarts(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  const offset = to.length - from.length;
  let places = [0];
  for (const [axis, size] of to.entries()) {
    const stride = axis < offset || from[axis - offset] === 1 ? 0 : (own[axis - offset] ?? 0);
    places = places.flatMap((place) => Array.from({ length: size }, (_, i) => place + i * stride));
  }
  return places;
}
