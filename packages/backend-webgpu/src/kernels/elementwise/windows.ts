import { GpuHandle } from "../../memory.ts";
import { roundUp } from "../../program.ts";

/** A tensor that a kernel walks from its first element to its last. */
export interface Walked {
  readonly handle: GpuHandle;
  /** Bytes of an element. */
  readonly bytes: number;
}

/** Elements that lie in one segment of every walked tensor. */
export interface Window {
  /** Number of the first element, a multiple of 64. */
  readonly start: number;
  readonly count: number;
  /** For each tensor its segment; `undefined` where it has only one. */
  readonly segments: readonly (number | undefined)[];
  /** For each tensor the number of elements of its segment that lie before the window. */
  readonly bases: readonly number[];
}

/**
 * Cuts elements into windows that lie in one segment of every tensor that is walked in order: a
 * kernel then binds one segment of each, so that large tensors need no more bindings than small ones.
 */
export function windowsOf(count: number, tensors: readonly Walked[]): Window[] {
  const capacities = tensors.map(({ handle, bytes }) =>
    handle.blocks.length > 1 ? handle.segmentBytes / bytes : roundUp(Math.max(count, 1), 64),
  );
  const step = Math.min(...capacities);
  const windows: Window[] = [];
  for (let start = 0; start < count; start += step) {
    windows.push({
      start,
      count: Math.min(step, count - start),
      segments: tensors.map(({ handle }, index) =>
        handle.blocks.length > 1 ? Math.floor(start / (capacities[index] as number)) : undefined,
      ),
      bases: capacities.map((capacity) => start % capacity),
    });
  }
  return windows;
}

/** Consecutive segments of a tensor, as a tensor of their own. */
export interface View {
  readonly handle: GpuHandle;
  /** Number of the view's first element in the tensor, of elements of 4 bytes. */
  readonly start: number;
}

/** The segments that hold elements `first … end − 1`, which have 4 bytes. */
export function viewOf(handle: GpuHandle, first: number, end: number): View {
  const { blocks, segmentBytes, byteLength, life } = handle;
  if (blocks.length === 1) return { handle, start: 0 };
  const capacity = segmentBytes / 4;
  const from = Math.min(Math.floor(first / capacity), blocks.length - 1);
  const to = Math.min(Math.max(Math.ceil(end / capacity), from + 1), blocks.length);
  const bytes = Math.min(to * segmentBytes, byteLength) - from * segmentBytes;
  const view = new GpuHandle(bytes, blocks.slice(from, to), segmentBytes, life);
  return { handle: view, start: from * capacity };
}

/** Pieces of work that follow one another. */
export interface Run {
  readonly first: number;
  readonly count: number;
  /** Elements that the pieces touch, and the end of them. */
  readonly start: number;
  readonly end: number;
}

/**
 * Cuts pieces of work, of which each touches a range of elements of 4 bytes beginning no earlier than
 * that of the piece before, into runs whose ranges lie in at most `most` segments.
 */
export function runsOf(
  pieces: number,
  rangeOf: (piece: number) => readonly [start: number, end: number],
  { blocks, segmentBytes }: GpuHandle,
  most: number,
): Run[] {
  const run = (first: number, end: number): Run => ({
    first,
    count: end - first,
    start: rangeOf(first)[0],
    end: rangeOf(end - 1)[1],
  });
  if (blocks.length <= most) return [run(0, pieces)];
  const capacity = segmentBytes / 4;
  const runs: Run[] = [];
  for (let first = 0; first < pieces; first += runs.at(-1)?.count ?? 1) {
    const limit = (Math.floor(rangeOf(first)[0] / capacity) + Math.max(most, 1)) * capacity;
    let [fits, fails] = [first + 1, pieces + 1];
    while (fails - fits > 1) {
      const middle = Math.floor((fits + fails) / 2);
      if (rangeOf(middle - 1)[1] <= limit) fits = middle;
      else fails = middle;
    }
    runs.push(run(first, fits));
  }
  return runs;
}
