import { type Shape, bytesPerElement, stridesOf } from "@moiety/core";
import type { Kernel, KernelCall, Operand } from "../../kernel.ts";
import type { WasmBuffer } from "../../memory.ts";
import { fillBuffer } from "../elementwise/creation.ts";
import { broadcastStrides } from "../grid.ts";
import { type Region, copyBuffer, copyRegion } from "./copy.ts";

/** Repeats a tensor to a shape. */
export const broadcast: Kernel = (call) => {
  const x = call.input(0);
  return gather(call, x, 0, broadcastStrides(x.shape, call.spec(0).shape));
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
  if (buffer !== target.buffer) copyBuffer(call, target.address, buffer);
  const unit = bytesPerElement(target.dtype);
  copyRegion(call, update.shape, unit, whole(update), {
    address: buffer.address + offsetOf(starts, target.shape) * unit,
    strides: stridesOf(target.shape),
  });
  return [buffer];
};

/** Tensors one after the other along an axis. */
export const concat: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.spec(0);
  const unit = bytesPerElement(dtype);
  const strides = stridesOf(shape);
  const buffer = call.make(0);
  let { address } = buffer;
  for (let index = 0; index < call.inputCount; index++) {
    const part = call.input(index);
    copyRegion(call, part.shape, unit, whole(part), { address, strides });
    address += (part.shape[axis] ?? 0) * (strides[axis] ?? 0) * unit;
  }
  return [buffer];
};

/** A tensor with a margin of one value. */
export const pad: Kernel = (call) => {
  const { before, value } = call.attributes<{ before: readonly number[]; value: number }>();
  const x = call.input(0);
  const { shape, dtype } = call.spec(0);
  const unit = bytesPerElement(dtype);
  const buffer = call.make(0);
  fillBuffer(call, buffer, value, dtype);
  copyRegion(call, x.shape, unit, whole(x), {
    address: buffer.address + offsetOf(before, shape) * unit,
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
): WasmBuffer[] {
  const { shape } = call.spec(0);
  const unit = bytesPerElement(x.dtype);
  const buffer = call.make(0);
  copyRegion(
    call,
    shape,
    unit,
    { address: x.address + offset * unit, strides },
    { address: buffer.address, strides: stridesOf(shape) },
  );
  return [buffer];
}

/** All of a tensor, in order. */
function whole(x: Operand): Region {
  return { address: x.address, strides: stridesOf(x.shape) };
}

function offsetOf(starts: readonly number[], shape: Shape): number {
  return stridesOf(shape).reduce((sum, stride, axis) => sum + stride * (starts[axis] ?? 0), 0);
}
