import { sizeOf } from "@moiety/core";
import { load, store } from "./convert.ts";
import { isWhole } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";
import { BLOCK } from "./scratch.ts";

/** The values in another dtype. */
export const cast: Kernel = (call) => {
  const x = call.input(0);
  const { dtype, shape } = call.spec(0);
  const buffer = call.reuse(0);
  const target = call.view(0, buffer);
  if (dtype === x.dtype || (isWhole(dtype) && isWhole(x.dtype))) {
    target.set(x.array);
    return [buffer];
  }
  const block = call.scratch.block("in 0");
  const total = sizeOf(shape);
  for (let start = 0; start < total; start += BLOCK) {
    const count = Math.min(BLOCK, total - start);
    load(call.scratch, x.array, x.dtype, start, count, block);
    store(call.scratch, block, count, target, dtype, start);
  }
  return [buffer];
};
