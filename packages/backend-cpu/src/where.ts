import type { WhereAttributes } from "@moiety/core";
import { type BlockBody, mapNumbers } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

/** `a` where the condition is true, else `b`; shapes broadcast. */
export const where: Kernel = (call) => {
  const scalars = call.attributes<WhereAttributes>();
  const a = call.optional(1) ?? scalars.a ?? 0;
  const b = call.optional(2) ?? scalars.b ?? 0;
  return mapNumbers(call, [call.input(0), a, b], choose);
};

const choose: BlockBody<Float64Array> = (count, out, condition, a, b) => {
  for (let i = 0; i < count; i++) out[i] = condition[i] === 0 ? b[i]! : a[i]!;
};
