import { type DType, sizeOf } from "@moiety/core";
import { I32 } from "../../emit/scalars.ts";
import { I32x4 } from "../../emit/vectors.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { FLAT_GRAIN, eachFlat, flatTasks } from "../flat.ts";
import { wordOf } from "./scalars.ts";

const fillWords = /*#__PURE__*/ defineRoutine(
  "fillWords",
  { to: I32, words: I32, value: I32 },
  (body, { to, words, value }, task) => {
    const vector = body.let(I32x4.splat(value));
    eachFlat(body, task, words, 16, (index) => {
      const address = body.let(to.add(index.shl(2)));
      for (let offset = 0; offset < 64; offset += 16) body.store(address, vector, offset);
    });
  },
);

/** Sets a whole buffer to one value. */
export function fillBuffer(
  call: KernelCall,
  buffer: { readonly address: number; readonly byteLength: number },
  value: number,
  dtype: DType,
): void {
  const words = Math.ceil(buffer.byteLength / 4);
  const args = { to: buffer.address, words, value: wordOf(value, dtype) };
  call.launch(fillWords, args, flatTasks(words));
}

/** Sets every element to one value. */
export const fill: Kernel = (call) => {
  const { value, dtype } = call.attributes<{ value: number; dtype: DType }>();
  const output = call.make(0);
  fillBuffer(call, output, value, dtype);
  return [output];
};

const countAlong = /*#__PURE__*/ defineRoutine(
  "countAlong",
  { to: I32, count: I32, size: I32, inner: I32, float: I32 },
  (body, { to, count, size, inner, float }, task) => {
    const from = body.let(task.mul(FLAT_GRAIN));
    const place = body.let(from.divU(inner));
    const within = body.let(from.sub(place.mul(inner)));
    body.set(place, place.remU(size));
    eachFlat(body, task, count, 1, (index) => {
      const bits = place.toF32U().asI32().select(float, place);
      body.store(to.add(index.shl(2)), bits);
      body.increment(within, 1);
      body.if(within.eq(inner), () => {
        body.set(within, I32.const(0));
        body.increment(place, 1);
        body.set(place, I32.const(0).select(place.eq(size), place));
      });
    });
  },
);

/** Each element's index along an axis. */
export const iota: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.spec(0);
  const output = call.make(0);
  const count = call.outputSize(0);
  const args = {
    to: output.address,
    count,
    size: shape[axis] ?? 1,
    inner: sizeOf(shape.slice(axis + 1)),
    float: dtype === "f32" ? 1 : 0,
  };
  call.launch(countAlong, args, flatTasks(count));
  return [output];
};

/** Routines of these kernels. */
export const creationRoutines: readonly Routine[] = [fillWords, countAlong];
