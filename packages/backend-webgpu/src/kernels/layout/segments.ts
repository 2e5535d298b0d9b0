import type { GpuHandle } from "../../memory.ts";

/** One binding's part of a tensor. */
export interface Segment {
  /** Absent where there is only one. */
  readonly number: number | undefined;
  /** Units before it. */
  readonly start: number;
  /** Units in it; of the last one perhaps more than the tensor has. */
  readonly length: number;
}

/** The segments of a tensor, measured in units of so many bytes. */
export function segmentsOf(
  { blocks, segmentBytes, byteLength }: GpuHandle,
  unit: number,
): Segment[] {
  if (blocks.length === 1) {
    return [{ number: undefined, start: 0, length: Math.ceil(byteLength / unit) }];
  }
  const length = segmentBytes / unit;
  return blocks.map((_, number) => ({ number, start: number * length, length }));
}
