import type { DType, HostArray, Shape } from "@moiety/core";
import { sizeOf } from "@moiety/core";
import { broadcastStrides, gridOf } from "./grid.ts";
import type { KernelCall, Operand } from "./kernel.ts";
import type { CpuBuffer } from "./memory.ts";
import { BLOCK, type Scratch } from "./scratch.ts";

/** What elementwise kernels read: a tensor, or one number for every place. */
export type Source = Operand | number;

/** Computes one block: `out[i] = f(a[i], b[i], c[i])` for i below `count`. */
export type BlockBody<Out> = (
  count: number,
  out: Out,
  a: Float64Array,
  b: Float64Array,
  c: Float64Array,
) => void;

/** Gives the block of a source that belongs to output elements `start … start + count`. */
type Feeder = (start: number, count: number) => Float64Array;

/**
 * Computes an output of numbers from sources that broadcast to it. Everything is computed in float64
 * and rounded once, when it is stored; integers are stored modulo 2^32. A donated input is written
 * in place.
 */
export function mapNumbers(
  call: KernelCall,
  sources: readonly Source[],
  body: BlockBody<Float64Array>,
): CpuBuffer[] {
  const buffer = call.reuse(0);
  const target = call.view(0, buffer);
  if (target instanceof Float64Array) {
    mapBlocks(call, sources, (start, count, a, b, c) =>
      body(count, target.subarray(start, start + count), a, b, c),
    );
  } else {
    const block = call.scratch.block("out");
    mapBlocks(call, sources, (start, count, a, b, c) => {
      body(count, block, a, b, c);
      target.set(count === BLOCK ? block : block.subarray(0, count), start);
    });
  }
  return [buffer];
}

/** Computes an output of booleans from sources that broadcast to it. */
export function mapBooleans(
  call: KernelCall,
  sources: readonly Source[],
  body: BlockBody<Uint32Array>,
): CpuBuffer[] {
  const buffer = call.reuse(0);
  const target = new Uint32Array(buffer.block);
  mapBlocks(call, sources, (start, count, a, b, c) =>
    body(count, target.subarray(start, start + count), a, b, c),
  );
  return [buffer];
}

/** Walks the output block by block, in index order. */
function mapBlocks(
  call: KernelCall,
  sources: readonly Source[],
  body: (start: number, count: number, a: Float64Array, b: Float64Array, c: Float64Array) => void,
): void {
  const { shape } = call.spec(0);
  const { sizes, strides } = gridOf(
    shape,
    sources.map((source) =>
      typeof source === "number" ? shape.map(() => 0) : broadcastStrides(source.shape, shape),
    ),
  );
  const row = sizes.at(-1) ?? 1;
  // Whole rows in a block, so that a repeated row fills its block once and for all.
  const length = row === 0 || row > BLOCK ? BLOCK : Math.floor(BLOCK / row) * row;
  const feed = [0, 1, 2].map((index) =>
    feederOf(call.scratch, `in ${index}`, sources[index], sizes, strides[index] ?? [], length),
  ) as [Feeder, Feeder, Feeder];
  const total = sizeOf(shape);
  for (let start = 0; start < total; start += length) {
    const count = Math.min(length, total - start);
    const a = feed[0](start, count);
    const b = feed[1](start, count);
    const c = feed[2](start, count);
    body(start, count, a, b, c);
  }
}

function feederOf(
  scratch: Scratch,
  name: string,
  source: Source | undefined,
  sizes: Shape,
  strides: readonly number[],
  length: number,
): Feeder {
  const block = scratch.block(name);
  if (source === undefined) return () => block;
  if (typeof source === "number") {
    block.fill(source);
    return () => block;
  }
  const { array } = source;
  if (isRowMajor(sizes, strides)) {
    if (array instanceof Float64Array) {
      return (start, count) => array.subarray(start, start + count);
    }
    return (start, count) => {
      block.set(array.subarray(start, start + count));
      return block;
    };
  }
  const gather: Feeder = (start, count) => {
    gatherBlock(block, array, sizes, strides, start, count);
    return block;
  };
  const wholeRows = length % (sizes.at(-1) ?? 1) === 0;
  const oneRow = strides.slice(0, -1).every((stride) => stride === 0);
  if (!oneRow || !(wholeRows || strides.at(-1) === 0)) return gather;
  return (start, count) => (start === 0 ? gather(start, count) : block);
}

/** Reads output elements `start … start + count` of a repeated array into a block. */
function gatherBlock(
  block: Float64Array,
  array: HostArray,
  sizes: readonly number[],
  strides: readonly number[],
  start: number,
  count: number,
): void {
  const last = sizes.length - 1;
  const place = sizes.map(() => 0);
  let position = 0;
  for (let axis = last, rest = start; axis >= 0; axis--) {
    const size = sizes[axis] ?? 1;
    place[axis] = rest % size;
    rest = Math.floor(rest / size);
    position += (place[axis] ?? 0) * (strides[axis] ?? 0);
  }
  const row = sizes[last] ?? 1;
  const step = strides[last] ?? 0;
  for (let done = 0; done < count;) {
    const run = Math.min(row - (place[last] ?? 0), count - done);
    if (step === 0) block.fill(array[position] ?? 0, done, done + run);
    else for (let index = 0; index < run; index++) block[done + index] = array[position + index]!;
    done += run;
    position -= (place[last] ?? 0) * step;
    place[last] = 0;
    for (let axis = last - 1; axis >= 0; axis--) {
      const stride = strides[axis] ?? 0;
      place[axis] = (place[axis] ?? 0) + 1;
      position += stride;
      if ((place[axis] ?? 0) < (sizes[axis] ?? 1)) break;
      position -= stride * (sizes[axis] ?? 1);
      place[axis] = 0;
    }
  }
}

function isRowMajor(sizes: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    if (strides[axis] !== expected) return false;
    expected *= sizes[axis] ?? 1;
  }
  return true;
}

/** Whether a dtype holds whole numbers. */
export function isWhole(dtype: DType): boolean {
  return dtype === "i32" || dtype === "u32";
}
