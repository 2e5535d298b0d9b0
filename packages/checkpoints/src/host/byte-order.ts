import type { HostArray } from "@moiety/core";

/** The bytes behind a host array. */
export function bytesOf(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/**
 * Turns little-endian elements into the machine's own order, or back, in place. Files are
 * little-endian, and so is nearly every machine: there this does nothing.
 */
export function swapOnBigEndian(bytes: Uint8Array, elementBytes: number): void {
  if (!isLittleEndian()) reverseElements(bytes, elementBytes);
}

/** Reverses the bytes of every element in place. */
export function reverseElements(bytes: Uint8Array, elementBytes: number): void {
  for (let start = 0; start < bytes.length; start += elementBytes) {
    bytes.subarray(start, start + elementBytes).reverse();
  }
}

/** Whether this machine stores the low byte first. */
export function isLittleEndian(): boolean {
  return new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
}
