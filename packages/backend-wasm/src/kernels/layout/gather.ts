import { bytesPerElement, sizeOf } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { FLAT_GRAIN, eachFlat, flatTasks } from "../flat.ts";
import { copyBytes, copyBuffer } from "./copy.ts";

/** Bytes that one task moves, at least. */
const GRAIN = 65_536;

const gatherRowsRoutine = /*#__PURE__*/ defineRoutine(
  "gatherRows",
  { to: I32, table: I32, ids: I32, rows: I32, rowsPerTask: I32, count: I32, bytes: I32 },
  (body, { to, table, ids, rows, rowsPerTask, count, bytes }, task) => {
    const first = body.let(task.mul(rowsPerTask));
    const end = body.let(first.add(rowsPerTask));
    body.set(end, end.minU(rows));
    const target = body.let(to.add(first.mul(bytes)));
    body.for(first, end, 1, (row) => {
      const id = body.let(I32.load(ids.add(row.shl(2))));
      body.if(
        id.ltU(count),
        () => {
          const source = body.let(table.add(id.mul(bytes)));
          body.if(
            bytes.eq(4),
            () => body.store(target, I32.load(source)),
            () => copyBytes(body, target, source, bytes),
          );
        },
        () => body.fillBytes(target, 0, bytes),
      );
      body.increment(target, bytes);
    });
  },
);

/** Rows of a table by id; an id outside it gives zeros. */
export const gatherRows: Kernel = (call) => {
  const table = call.input(0);
  const ids = call.input(1);
  const output = call.make(0);
  const bytes = sizeOf(table.shape.slice(1)) * bytesPerElement(table.dtype);
  if (bytes === 0) return [output];
  const rowsPerTask = Math.ceil(GRAIN / bytes);
  const args = {
    to: output.address,
    table: table.address,
    ids: ids.address,
    rows: ids.size,
    rowsPerTask,
    count: table.shape[0] ?? 0,
    bytes,
  };
  call.launch(gatherRowsRoutine, args, Math.ceil(ids.size / rowsPerTask));
  return [output];
};

const ALONG = {
  indices: I32,
  /** The tensor that is as long as the indices. */
  near: I32,
  /** The tensor that has `places` along the axis. */
  far: I32,
  count: I32,
  /** Sizes along the axis, of the indices and of `far`, and elements of what lies behind it. */
  steps: I32,
  places: I32,
  inner: I32,
  unit: I32,
};

/**
 * Visits each index of a task: where its element is in the near tensor, where in the far one, and whether
 * the index lies inside the axis. The places are expressions.
 */
function eachIndex(
  body: Body,
  args: { readonly [K in keyof typeof ALONG]: I32 },
  task: I32,
  visit: (near: I32, far: I32, inside: I32) => void,
): void {
  const { indices, near, far, count, steps, places, inner, unit } = args;
  const from = body.let(task.mul(FLAT_GRAIN));
  const upper = body.let(from.divU(inner));
  const within = body.let(from.sub(upper.mul(inner)));
  const outer = body.let(upper.divU(steps));
  const step = body.let(upper.sub(outer.mul(steps)));
  const start = body.let(outer.mul(places));
  eachFlat(body, task, count, 1, (at) => {
    const index = body.let(I32.load(indices.add(at.shl(2))));
    const place = start.add(index).mul(inner).add(within);
    visit(near.add(at.mul(unit)), far.add(place.mul(unit)), index.ltU(places));
    body.increment(within, 1);
    body.if(within.eq(inner), () => {
      body.set(within, I32.const(0));
      body.increment(step, 1);
      body.if(step.eq(steps), () => {
        body.set(step, I32.const(0));
        body.increment(start, places);
      });
    });
  });
}

/** Moves the bits of `mask` of one element of 1, 2 or 4 bytes. */
function moveElement(body: Body, to: I32, from: I32, mask: I32, unit: I32): void {
  const [target, source] = [body.let(to), body.let(from)];
  const inHalves = (): void =>
    body.if(
      unit.eq(2),
      () => body.store16(target, I32.load16U(source).and(mask)),
      () => body.store8(target, I32.load8U(source).and(mask)),
    );
  body.if(unit.eq(4), () => body.store(target, I32.load(source).and(mask)), inHalves);
}

const takeRoutine = /*#__PURE__*/ defineRoutine("takeAlong", ALONG, (body, args, task) => {
  eachIndex(body, args, task, (near, far, inside) => {
    const mask = body.let(I32.const(0).sub(inside));
    // Outside, the element's own place is read, and nothing of it is kept.
    moveElement(body, near, far.select(mask, near), mask, args.unit);
  });
});

const putRoutine = /*#__PURE__*/ defineRoutine("putAlong", ALONG, (body, args, task) => {
  eachIndex(body, args, task, (near, far, inside) => {
    body.if(inside, () => moveElement(body, far, near, I32.const(-1), args.unit));
  });
});

/** Elements along an axis by index; an index outside it gives 0. */
export const takeAlong: Kernel = (call) => {
  const output = call.make(0);
  launchAlong(call, takeRoutine, output.address, call.input(0).address);
  return [output];
};

/** A copy of x with updates put along an axis by index; an index outside it is left out. */
export const putAlong: Kernel = (call) => {
  const x = call.input(0);
  const output = call.reuse(0, 1);
  if (output !== x.buffer) copyBuffer(call, x.address, output);
  launchAlong(call, putRoutine, call.input(2).address, output.address);
  return [output];
};

/** `near` has the shape of the indices, `far` that of the first input. */
function launchAlong(
  call: KernelCall,
  routine: Routine<typeof ALONG>,
  near: number,
  far: number,
): void {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.input(0);
  const indices = call.input(1);
  const args = {
    indices: indices.address,
    near,
    far,
    count: indices.size,
    steps: indices.shape[axis] ?? 1,
    places: shape[axis] ?? 1,
    inner: sizeOf(shape.slice(axis + 1)),
    unit: bytesPerElement(dtype),
  };
  call.launch(routine, args, flatTasks(indices.size));
}

/** Routines of these kernels. */
export const gatherRoutines: readonly Routine[] = [gatherRowsRoutine, takeRoutine, putRoutine];
