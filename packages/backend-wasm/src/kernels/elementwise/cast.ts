import { type DType, DTypeError, bytesPerElement } from "@moiety/core";
import { I32 } from "../../emit/scalars.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { eachFlat, flatTasks } from "../flat.ts";
import { copyBuffer } from "../layout/copy.ts";
import {
  READ,
  STEP,
  convertElements,
  readElements,
  stepsOf,
  storeElements,
} from "./conversions.ts";

// One routine for all pairs: how to read, convert and store is asked once in 16 elements.
const castElements = /*#__PURE__*/ defineRoutine(
  "cast",
  { to: I32, from: I32, count: I32, fromUnit: I32, toUnit: I32, read: I32, lift: I32, finish: I32 },
  (body, args, task) => {
    const { to, from, count, fromUnit, toUnit, read } = args;
    eachFlat(body, task, count, STEP, (index) => {
      const words = readElements(body, body.let(from.add(index.mul(fromUnit))), read);
      convertElements(body, words, args);
      storeElements(body, body.let(to.add(index.mul(toUnit))), words, toUnit);
    });
  },
);

/** Whether the bits stay what they are. */
function isCopy(from: DType, to: DType): boolean {
  return from === to || (isWhole(to) && (isWhole(from) || from === "bool"));
}

function isWhole(dtype: DType): boolean {
  return dtype === "i32" || dtype === "u32";
}

/** The values in another dtype. */
export const cast: Kernel = (call) => {
  const x = call.input(0);
  const { dtype } = call.spec(0);
  if (x.dtype === "f64" || dtype === "f64") {
    throw new DTypeError(`the wasm backend does not cast ${x.dtype} to ${dtype}`, { op: "cast" });
  }
  const output = call.reuse(0);
  if (isCopy(x.dtype, dtype)) {
    if (output !== x.buffer) copyBuffer(call, x.address, output);
    return [output];
  }
  const args = {
    to: output.address,
    from: x.address,
    count: x.size,
    fromUnit: bytesPerElement(x.dtype),
    toUnit: bytesPerElement(dtype),
    read: READ[x.dtype] ?? 0,
    ...stepsOf(x.dtype, dtype),
  };
  call.launch(castElements, args, flatTasks(x.size));
  return [output];
};

/** The routine of this kernel. */
export const castRoutines: readonly Routine[] = [castElements];
