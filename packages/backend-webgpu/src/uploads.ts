import type { GpuHandle } from "./memory.ts";

/** Whole words for one segment of a handle. */
export interface AlignedPiece {
  readonly segment: number;
  /** Bytes from the segment's start, a multiple of 4. */
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** WebGPU writes whole words. */
const WORD = 4;

/**
 * Cuts an upload at segments and completes words that it covers in part, with what earlier pieces of
 * the same upload put there (zeros where nothing was).
 */
export function alignedPieces(
  handle: GpuHandle,
  offset: number,
  bytes: Uint8Array,
): AlignedPiece[] {
  if (bytes.byteLength === 0) return [];
  const start = offset - (offset % WORD);
  const end = Math.ceil((offset + bytes.byteLength) / WORD) * WORD;
  const whole = completeWords(handle, offset, bytes, start, end);
  const pieces: AlignedPiece[] = [];
  for (let at = start; at < end;) {
    const segment = Math.floor(at / handle.segmentBytes);
    const stop = Math.min(end, (segment + 1) * handle.segmentBytes);
    pieces.push({
      segment,
      offset: at - segment * handle.segmentBytes,
      bytes: whole.subarray(at - start, stop - start),
    });
    at = stop;
  }
  return pieces;
}

function completeWords(
  handle: GpuHandle,
  offset: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Uint8Array<ArrayBuffer> {
  if (start === offset && end === offset + bytes.byteLength) {
    return bytes as Uint8Array<ArrayBuffer>;
  }
  const whole = new Uint8Array(end - start);
  const partial = (handle.partialWords ??= new Map());
  for (const edge of new Set([start, end - WORD])) {
    const known = partial.get(edge);
    if (known) whole.set(known, edge - start);
  }
  whole.set(bytes, offset - start);
  for (const edge of new Set([start, end - WORD])) {
    partial.set(edge, whole.slice(edge - start, edge - start + WORD));
  }
  return whole;
}
