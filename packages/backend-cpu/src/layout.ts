import { type Shape, stridesOf } from "@moiety/core";
import { storedValue } from "./convert.ts";
import { broadcastStrides } from "./grid.ts";
import type { Kernel, KernelCall, Operand } from "./kernel.ts";
import type { CpuBuffer } from "./memory.ts";
import { type Region, bitsOf, copyRegion } from "./strided-copy.ts";

/** Repeats a tensor to a shape. */
export const broadcast: Kernel = (call) => {
  const x = call.input(0);
  const { shape } = call.spec(0);
  return gather(call, x, 0, broadcastStrides(x.shape, shape));
};

/** Axis i of the output is axis `permutation[i]` of the input. */
export const transpose: Kernel = (call) => {
  const { permutation } = call.attributes<{ permutation: readonly number[] }>();
  const x = call.input(0);
  const strides = stridesOf(x.shape);
  return gather(
    call,
    x,
    0,
    permutation.map((axis) => strides[axis] ?? 0),
  );
};

/** The part of a tensor that begins at `starts`. */
export const slice: Kernel = (call) => {
  const { starts } = call.attributes<{ starts: readonly number[] }>();
  const x = call.input(0);
  return gather(call, x, offsetOf(starts, x.shape), stridesOf(x.shape));
};

/** A copy of a tensor with another one written into it at `starts`; in place where donated. */
export const writeSlice: Kernel = (call) => {
  const { starts } = call.attributes<{ starts: readonly number[] }>();
  const target = call.input(0);
  const update = call.input(1);
  const buffer = call.reuse(0, 1);
  const out = call.view(0, buffer);
  if (!call.isInput(0, buffer)) out.set(target.array);
  copyRegion(update.shape, whole(update), {
    bits: bitsOf(out, target.dtype),
    offset: offsetOf(starts, target.shape),
    strides: stridesOf(target.shape),
  });
  return [buffer];
};

/** Tensors one after the other along an axis. */
export const concat: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.spec(0);
  const buffer = call.make(0);
  const bits = bitsOf(call.view(0, buffer), dtype);
  const strides = stridesOf(shape);
  for (let index = 0, offset = 0; index < call.inputCount; index++) {
    const part = call.input(index);
    copyRegion(part.shape, whole(part), { bits, offset, strides });
    offset += (part.shape[axis] ?? 0) * (strides[axis] ?? 0);
  }
  return [buffer];
};

/** A tensor with a margin of one value. */
export const pad: Kernel = (call) => {
  const { before, value } = call.attributes<{ before: readonly number[]; value?: number }>();
  const x = call.input(0);
  const { shape, dtype } = call.spec(0);
  const buffer = call.make(0);
  const out = call.view(0, buffer);
  out.fill(storedValue(call.scratch, value ?? 0, dtype));
  copyRegion(x.shape, whole(x), {
    bits: bitsOf(out, dtype),
    offset: offsetOf(before, shape),
    strides: stridesOf(shape),
  });
  return [buffer];
};

/** Fills the output by walking the input with strides. */
function gather(
  call: KernelCall,
  x: Operand,
  offset: number,
  strides: readonly number[],
): CpuBuffer[] {
  const { shape } = call.spec(0);
  const buffer = call.make(0);
  const bits = bitsOf(call.view(0, buffer), x.dtype);
  copyRegion(
    shape,
    { bits: bitsOf(x.array, x.dtype), offset, strides },
    { bits, offset: 0, strides: stridesOf(shape) },
  );
  return [buffer];
}

/** All of a tensor, in order. */
function whole(x: Operand): Region {
  return { bits: bitsOf(x.array, x.dtype), offset: 0, strides: stridesOf(x.shape) };
}

function offsetOf(starts: readonly number[], shape: Shape): number {
  return stridesOf(shape).reduce((sum, stride, axis) => sum + stride * (starts[axis] ?? 0), 0);
}
