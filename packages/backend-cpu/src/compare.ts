import type { CompareKind } from "@moiety/core";
import { rightOf } from "./binary.ts";
import { type BlockBody, mapBooleans } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

/** Whether a relation holds for each pair of elements; shapes broadcast. */
export const compare: Kernel = (call) => {
  const { kind, scalar } = call.attributes<{ kind: CompareKind; scalar?: number }>();
  const a = call.input(0);
  return mapBooleans(call, [a, rightOf(call.optional(1), scalar, a.dtype)], RELATIONS[kind]);
};

// A condition would be guessed wrong about every other time; a conversion costs the same always.
const RELATIONS: Readonly<Record<CompareKind, BlockBody<Uint32Array>>> = {
  eq(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Number(a[i] === b[i]);
  },
  ne(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Number(a[i] !== b[i]);
  },
  lt(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Number(a[i]! < b[i]!);
  },
  le(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Number(a[i]! <= b[i]!);
  },
  gt(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Number(a[i]! > b[i]!);
  },
  ge(count, out, a, b) {
    for (let i = 0; i < count; i++) out[i] = Number(a[i]! >= b[i]!);
  },
};
