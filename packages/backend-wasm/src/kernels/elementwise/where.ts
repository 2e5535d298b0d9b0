import type { WhereAttributes } from "@moiety/core";
import { I32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import { type Mapped3, mapped3 } from "./mapped.ts";
import { launchSources } from "./operands.ts";

const choose: Mapped3 = /*#__PURE__*/ mapped3("where", (_, condition, a, b) =>
  condition.ne(I32x4.const(0)).chooseInt(a, b),
);

/** `a` where the condition is true, else `b`; shapes broadcast. Every dtype here is one of words. */
export const where: Kernel = (call) => {
  const scalars = call.attributes<WhereAttributes>();
  const a = call.optional(1) ?? scalars.a ?? 0;
  const b = call.optional(2) ?? scalars.b ?? 0;
  const output = call.reuse(0);
  const { dtype } = call.spec(0);
  launchSources(call, choose, output.address, [call.input(0), a, b], dtype);
  return [output];
};

/** Routines of these kernels. */
export const whereRoutines: readonly Routine[] = [choose];
