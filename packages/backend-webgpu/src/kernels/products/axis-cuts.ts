import { UnsupportedError } from "@moiety/core";
import type { GpuHandle } from "../../memory.ts";

/** Part of an axis. */
export interface AxisRange {
  readonly first: number;
  readonly end: number;
}

/** A matrix that has a line for each place of an axis. */
export interface Lines {
  readonly handle: GpuHandle;
  /** Elements of a line. */
  readonly elements: number;
  /** Bytes of an element, 4 unless given; half a one for two codes in a byte. */
  readonly elementBytes?: number | undefined;
}

/** Segments of one matrix that a piece may touch: three matrices leave two bindings to spare. */
const ROOM = 2;
/** Bytes of f32. */
const BYTES = 4;

/**
 * Cuts an axis into ranges, at multiples of `unit`, so that the lines of a range lie in at most two
 * neighbouring segments of every matrix. One range, perhaps empty, where there is nothing to cut.
 * @throws UnsupportedError where `unit` lines do not fit; they always do where they fit in one segment
 */
export function cutAxis(
  size: number,
  unit: number,
  matrices: readonly Lines[],
  op = "matmul",
): AxisRange[] {
  const ranges: AxisRange[] = [];
  let first = 0;
  do {
    const reach = Math.min(size, ...matrices.map((lines) => reachOf(lines, first)));
    const end = reach >= size ? size : reach - (reach % unit);
    if (end <= first && size > 0) {
      throw new UnsupportedError(
        `${op}: ${unit} lines of a matrix take more than two bindings; give it fewer columns or ` +
          "take a device whose bindings hold more",
        "maxStorageBufferBindingSize",
        { op },
      );
    }
    ranges.push({ first, end });
    first = end;
  } while (first < size);
  return ranges;
}

/** The line up to which two segments reach, the first being that in which a line begins. */
function reachOf({ handle, elements, elementBytes = BYTES }: Lines, first: number): number {
  const { blocks, segmentBytes } = handle;
  const segment = Math.floor((first * elements * elementBytes) / segmentBytes);
  if (elements === 0 || segment + ROOM >= blocks.length) return Number.POSITIVE_INFINITY;
  return Math.floor(((segment + ROOM) * segmentBytes) / (elements * elementBytes));
}

/** What to bind of a matrix. */
export interface BoundLines {
  readonly bound: { readonly segment?: number; readonly segments?: number };
  /** Elements before what is bound. */
  readonly shift: number;
}

/** The segments of a matrix that hold a range of its lines; everything where none is given. */
export function segmentsFor(
  { blocks, segmentBytes }: GpuHandle,
  elements: number,
  range: AxisRange | undefined,
  elementBytes: number = BYTES,
): BoundLines {
  if (range === undefined || blocks.length <= ROOM) return { bound: {}, shift: 0 };
  const lineBytes = elements * elementBytes;
  const segment = Math.floor((range.first * lineBytes) / segmentBytes);
  const last = Math.floor(Math.max(range.end * lineBytes - 1, 0) / segmentBytes);
  return {
    bound: { segment, segments: last - segment + 1 },
    shift: (segment * segmentBytes) / elementBytes,
  };
}
