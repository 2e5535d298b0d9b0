import type { CompareKind, DType } from "@moiety/core";
import { F32x4, type I32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import { rightOf } from "./binary.ts";
import { type Compute2, type MappedKinds2, mappedKinds } from "./mapped.ts";
import { launchSources } from "./operands.ts";

function floats(relation: (a: F32x4, b: F32x4) => I32x4): Compute2 {
  return (_, a, b) => relation(a.as(F32x4), b.as(F32x4)).shrU(31);
}

function integers(relation: (a: I32x4, b: I32x4) => I32x4): Compute2 {
  return (_, a, b) => relation(a, b).shrU(31);
}

/** Relations that share a routine; where signs make no difference there is one for both. */
const RELATIONS: Readonly<Record<string, Compute2>> = {
  "eq f32": /*#__PURE__*/ floats((a, b) => a.eq(b)),
  "ne f32": /*#__PURE__*/ floats((a, b) => a.ne(b)),
  "lt f32": /*#__PURE__*/ floats((a, b) => a.lt(b)),
  "le f32": /*#__PURE__*/ floats((a, b) => a.le(b)),
  "eq i32": /*#__PURE__*/ integers((a, b) => a.eq(b)),
  "ne i32": /*#__PURE__*/ integers((a, b) => a.ne(b)),
  "lt i32": /*#__PURE__*/ integers((a, b) => a.lt(b)),
  "le i32": /*#__PURE__*/ integers((a, b) => a.le(b)),
  "lt u32": /*#__PURE__*/ integers((a, b) => a.ltU(b)),
  "le u32": /*#__PURE__*/ integers((a, b) => a.leU(b)),
};

/** Those that are the other way round. */
const SWAPPED: Readonly<Partial<Record<CompareKind, CompareKind>>> = { gt: "lt", ge: "le" };

const NAMES = /*#__PURE__*/ Object.keys(RELATIONS);
const routine: MappedKinds2 = /*#__PURE__*/ mappedKinds(
  "compare",
  /*#__PURE__*/ Object.values(RELATIONS),
);

/** Whether a relation holds for each pair of elements; shapes broadcast. */
export const compare: Kernel = (call) => {
  const { kind, scalar } = call.attributes<{ kind: CompareKind; scalar?: number }>();
  const a = call.input(0);
  const sources = [a, rightOf(call.optional(1), scalar)];
  const swapped = SWAPPED[kind];
  if (swapped) sources.reverse();
  const output = call.reuse(0);
  const settings = { kind: relationOf(swapped ?? kind, a.dtype) };
  launchSources(call, routine, output.address, sources, a.dtype, settings);
  return [output];
};

function relationOf(kind: CompareKind, dtype: DType): number {
  const own = NAMES.indexOf(`${kind} ${dtype}`);
  // Truths are words, and equal where these are.
  return own >= 0 ? own : NAMES.indexOf(`${kind} i32`);
}

/** The routine of this kernel. */
export const compareRoutines: readonly Routine[] = [routine];
