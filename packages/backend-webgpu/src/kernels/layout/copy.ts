import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { roundUp } from "../../program.ts";
import { mapElements } from "../elementwise/map.ts";

/** From so many bytes on a copy is worth the end of the pass that it needs. */
const COPIED_BYTES = 2 ** 16;

/** Copies bytes; the number may be rounded up to whole words, offsets are multiples of 4. */
export function copyBytes(
  call: KernelCall,
  source: { readonly handle: GpuHandle; readonly offset: number },
  target: { readonly handle: GpuHandle; readonly offset: number },
  bytes: number,
): boolean {
  if (bytes < COPIED_BYTES || source.offset % 4 !== 0 || target.offset % 4 !== 0) return false;
  call.copy(source.handle, source.offset, target.handle, target.offset, roundUp(bytes, 4));
  return true;
}

/** Copies all of a tensor, of any dtype, to one of the same size. */
export function copyWhole(call: KernelCall, source: GpuHandle, target: GpuHandle): void {
  const from = { handle: source, offset: 0 };
  if (copyBytes(call, from, { handle: target, offset: 0 }, source.byteLength)) return;
  const words = Math.ceil(source.byteLength / 4);
  mapElements(call, target, {
    name: "copy",
    shape: [words],
    type: "u32",
    sources: { x: { handle: source, type: "u32", strides: [1] } },
    value: "x",
  });
}
