import { UnsupportedError } from "@moiety/core";
import type { GpuHandle } from "../../memory.ts";
import type { Operand } from "../../program.ts";

/** What to bind of a stack; nothing given where all segments are bound. */
export interface StackPart {
  readonly segment: number | undefined;
  readonly segments: number | undefined;
  /** Elements of the stack before the first bound segment. */
  readonly shift: number;
}

/** Some of the matrices of stacks, with the segments that hold them. */
export interface MatrixWindow {
  /** The first matrix, and the one behind the last. */
  readonly first: number;
  readonly end: number;
  /** For each stack. */
  readonly parts: readonly StackPart[];
}

/** A stack of matrices, one for each expert. */
export interface MatrixStack {
  readonly handle: GpuHandle;
  /** Elements of one matrix. */
  readonly elements: number;
  /** Half a byte for two codes in a byte. */
  readonly elementBytes: number;
}

/** More segments than this of a stack in one kernel, unless a matrix needs them, cost more than a dispatch. */
const ENOUGH = 4;
/** Elements that a kernel can number. */
const NUMBERED = 2 ** 32;

/**
 * Cuts stacks of `count` matrices, which are read side by side, into windows of at most `room` segments
 * together, so that a kernel that needs one matrix at a time can work on stacks of any size. There is
 * one window, of everything, where all segments fit.
 * @throws UnsupportedError where one matrix alone takes more than `room` segments
 */
export function matrixWindows(
  stacks: readonly MatrixStack[],
  count: number,
  room: number,
): readonly MatrixWindow[] {
  const needed = sumOf(stacks, ({ handle, elements, elementBytes }) =>
    Math.max(ENOUGH, Math.ceil((elements * elementBytes) / handle.segmentBytes) + 1),
  );
  const most = Math.min(room, needed);
  const whole = stacks.every(({ elements }) => elements * count <= NUMBERED);
  if (count === 0 || (whole && sumOf(stacks, ({ handle }) => handle.blocks.length) <= most)) {
    return [{ first: 0, end: count, parts: stacks.map(() => WHOLE) }];
  }
  const windows: MatrixWindow[] = [];
  for (let first = 0; first < count;) {
    let end = first + 1;
    let parts = partsOf(stacks, first, end);
    if (!fits(stacks, parts, most)) throw tooLarge(stacks, room);
    while (end < count) {
      const longer = partsOf(stacks, first, end + 1);
      if (!fits(stacks, longer, most)) break;
      parts = longer;
      end += 1;
    }
    windows.push({ first, end, parts });
    first = end;
  }
  return windows;
}

/** All of a stack. */
export const WHOLE: StackPart = { segment: undefined, segments: undefined, shift: 0 };

/** The segments that hold the matrices `first … end − 1`. */
function partsOf(stacks: readonly MatrixStack[], first: number, end: number): BoundPart[] {
  return stacks.map(({ handle: { segmentBytes }, elements, elementBytes }) => {
    const bytes = elements * elementBytes;
    const segment = Math.floor((first * bytes) / segmentBytes);
    const last = Math.floor(Math.max(end * bytes - 1, 0) / segmentBytes);
    const segments = Math.max(last - segment + 1, 1);
    return { segment, segments, shift: (segment * segmentBytes) / elementBytes };
  });
}

interface BoundPart extends StackPart {
  readonly segments: number;
}

function fits(stacks: readonly MatrixStack[], parts: readonly BoundPart[], room: number): boolean {
  const numbered = stacks.every(
    ({ handle: { byteLength, segmentBytes }, elementBytes }, i) =>
      Math.min((parts[i]?.segments ?? 0) * segmentBytes, byteLength) / elementBytes <= NUMBERED,
  );
  return numbered && sumOf(parts, ({ segments }) => segments) <= room;
}

function tooLarge(stacks: readonly MatrixStack[], room: number): UnsupportedError {
  const bytes = sumOf(stacks, ({ elements, elementBytes }) => elements * elementBytes);
  const segmentBytes = stacks[0]?.handle.segmentBytes ?? 0;
  return new UnsupportedError(
    `a matrix of ${bytes} bytes needs more than the ${room} bindings of ${segmentBytes} bytes that ` +
      "are left for it in one kernel, or more than 2³² numbers in them (see the option segmentBytes)",
    "maxStorageBuffersPerShaderStage",
  );
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}

/** How many bindings operands take. */
export function bindingsOf(operands: Readonly<Record<string, Operand>>): number {
  return Object.values(operands).reduce(
    (sum, { handle, segment, segments = 1 }) =>
      sum + (segment === undefined ? handle.blocks.length : segments),
    0,
  );
}
