import type { WhereAttributes } from "@moiety/core";
import { scalarOperand } from "./binary.ts";
import type { Kernel } from "./kernel.ts";
import { broadcastPlaces } from "./places.ts";

/** One of two elements, by a condition. An uncertain condition may choose the other. */
export const where: Kernel = (call) => {
  const attributes = call.attributes<WhereAttributes>();
  const { shape, dtype } = call.spec(0);
  const condition = call.input(0);
  const a = call.inputs[1] ?? scalarOperand(call.precision, dtype, attributes.a ?? 0);
  const b = call.inputs[2] ?? scalarOperand(call.precision, dtype, attributes.b ?? 0);
  const y = call.result();
  const conditions = broadcastPlaces(condition.shape, shape);
  const left = broadcastPlaces(a.shape, shape);
  const right = broadcastPlaces(b.shape, shape);
  for (let at = 0; at < conditions.length; at++) {
    const which = conditions[at] ?? 0;
    const [i, j] = [left[at] ?? 0, right[at] ?? 0];
    if (condition.value(which) !== 0) y.copy(at, a, i);
    else y.copy(at, b, j);
    if (condition.bound(which) === 0) continue;
    const apart = a.value(i) === b.value(j) ? 0 : Math.abs(a.value(i) - b.value(j));
    const bound = apart + Math.max(a.bound(i), b.bound(j));
    const chosen = condition.value(which) !== 0 ? a.value(i) : b.value(j);
    y.set(at, chosen, Number.isNaN(bound) ? Infinity : bound);
  }
  return [y];
};
