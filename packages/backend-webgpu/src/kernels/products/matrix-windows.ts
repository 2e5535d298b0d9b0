import { UnsupportedError } from "@moiety/core";
import type { GpuHandle } from "../../memory.ts";
import type { Operand } from "../../program.ts";

/** Some of the matrices of a stack, with the segments that hold them. */
export interface MatrixWindow {
  /** The first matrix, and the one behind the last. */
  readonly first: number;
  readonly end: number;
  /** What to bind; nothing given where all segments are bound. */
  readonly segment: number | undefined;
  readonly segments: number | undefined;
  /** Elements of the stack before the first bound segment. */
  readonly shift: number;
}

/** A stack of matrices, one for each expert. */
export interface MatrixStack {
  readonly handle: GpuHandle;
  readonly count: number;
  /** Elements of one matrix. */
  readonly elements: number;
  readonly elementBytes: number;
}

/** More segments than this in one kernel, unless a matrix needs them, cost more than a dispatch. */
const ENOUGH = 4;

/**
 * Cuts a stack into windows of at most `room` segments, so that a kernel that needs one matrix at a
 * time can work on a stack of any size. There is one window, of everything, where all segments fit.
 * @throws UnsupportedError where one matrix alone takes more than `room` segments
 */
export function matrixWindows(stack: MatrixStack, room: number): readonly MatrixWindow[] {
  const { handle, elements, elementBytes } = stack;
  const needed = Math.ceil((elements * elementBytes) / handle.segmentBytes) + 1;
  return windowsOf(stack, Math.min(room, Math.max(needed, ENOUGH)));
}

function windowsOf(stack: MatrixStack, room: number): readonly MatrixWindow[] {
  const { handle, count, elements, elementBytes } = stack;
  const all = { first: 0, end: count, segment: undefined, segments: undefined, shift: 0 };
  if (handle.blocks.length <= room || count === 0) return [all];
  const bytes = elements * elementBytes;
  const segmentOf = (byte: number): number => Math.floor(byte / handle.segmentBytes);
  const windows: MatrixWindow[] = [];
  for (let first = 0; first < count;) {
    const segment = segmentOf(first * bytes);
    const reach = (segment + room) * handle.segmentBytes;
    const end = Math.min(count, Math.floor(reach / bytes));
    if (end === first) {
      throw new UnsupportedError(
        `a matrix of ${bytes} bytes needs more than the ${room} bindings of ` +
          `${handle.segmentBytes} bytes that are left for it in one kernel`,
        "maxStorageBuffersPerShaderStage",
      );
    }
    windows.push({
      first,
      end,
      segment,
      segments: segmentOf(end * bytes - 1) - segment + 1,
      shift: (segment * handle.segmentBytes) / elementBytes,
    });
    first = end;
  }
  return windows;
}

/** How many bindings operands take. */
export function bindingsOf(operands: Readonly<Record<string, Operand>>): number {
  return Object.values(operands).reduce(
    (sum, { handle, segment, segments = 1 }) =>
      sum + (segment === undefined ? handle.blocks.length : segments),
    0,
  );
}
