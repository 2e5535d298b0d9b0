import type { BinaryAttributes, BinaryKind, DType } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, type I32x4 } from "../../emit/vectors.ts";
import type { Kernel, Operand } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import { pow4 } from "../functions/index.ts";
import { rotateInt } from "../functions/lanes.ts";
import {
  type Compute2,
  type Mapped2,
  type MappedKinds2,
  fastMapped,
  mappedKinds,
} from "./mapped.ts";
import { type Source, launchSources } from "./operands.ts";

type Floats = (body: Body, a: F32x4, b: F32x4) => F32x4;

function floats(compute: Floats): Compute2 {
  return (body, a, b) => compute(body, a.as(F32x4), b.as(F32x4));
}

/** `b` where it beats `a`, or where `a` is NaN. */
function better(a: F32x4, b: F32x4, beats: I32x4): F32x4 {
  return beats.or(a.ne(a)).choose(b, a);
}

/** A function that has no vector instruction, lane by lane. */
function lanewise(compute: (body: Body, a: I32, b: I32) => I32): Compute2 {
  return (body, a, b) => {
    const lanes = body.int(0);
    body.repeat(() => {
      const [left, right] = [body.let(a.lane(0)), body.let(b.lane(0))];
      body.set(a, rotateInt(a, compute(body, left, right)));
      body.set(b, rotateInt(b, right));
      body.increment(lanes, 1);
      return lanes.ltU(4);
    });
    return a;
  };
}

/** x / 0 is 0, and x rem 0: neither may trap, nor may −2³¹ / −1. */
function safely(
  compute: (a: I32, b: I32) => I32,
  minusOne?: (a: I32) => I32,
): (body: Body, a: I32, b: I32) => I32 {
  return (body, a, b) => {
    const bad = minusOne ? b.add(1).ltU(2) : b.not();
    const divisor = body.let(I32.const(1).select(bad, b));
    const quotient = body.let(compute(a, divisor));
    if (minusOne) body.set(quotient, minusOne(a).select(b.eq(-1), quotient));
    return I32.const(0).select(b.not(), quotient);
  };
}

const FAST: Readonly<Record<string, Compute2>> = {
  "add f32": /*#__PURE__*/ floats((_, a, b) => a.add(b)),
  "sub f32": /*#__PURE__*/ floats((_, a, b) => a.sub(b)),
  "mul f32": /*#__PURE__*/ floats((_, a, b) => a.mul(b)),
  "div f32": /*#__PURE__*/ floats((_, a, b) => a.div(b)),
  "max f32": /*#__PURE__*/ floats((_, a, b) => better(a, b, b.gt(a))),
  "min f32": /*#__PURE__*/ floats((_, a, b) => better(a, b, b.lt(a))),
};

/** Functions that share a routine; where signs make no difference there is one for both. */
const INTEGERS: Readonly<Record<string, Compute2>> = {
  "add i32": (_, a, b) => a.add(b),
  "sub i32": (_, a, b) => a.sub(b),
  "mul i32": (_, a, b) => a.mul(b),
  "max i32": (_, a, b) => a.max(b),
  "max u32": (_, a, b) => a.gtU(b).chooseInt(a, b),
  "min i32": (_, a, b) => a.min(b),
  "min u32": (_, a, b) => a.ltU(b).chooseInt(a, b),
  // Truths are 0 or 1.
  "and bool": (_, a, b) => a.and(b),
  "or bool": (_, a, b) => a.or(b),
  "div i32": /*#__PURE__*/ lanewise(
    /*#__PURE__*/ safely(
      (a, b) => a.div(b),
      (a) => I32.const(0).sub(a),
    ),
  ),
  "div u32": /*#__PURE__*/ lanewise(/*#__PURE__*/ safely((a, b) => a.divU(b))),
  "rem i32": /*#__PURE__*/ lanewise(/*#__PURE__*/ safely((a, b) => a.rem(b))),
  "rem u32": /*#__PURE__*/ lanewise(/*#__PURE__*/ safely((a, b) => a.remU(b))),
};

const FAST_ROUTINES: ReadonlyMap<string, Mapped2> = /*#__PURE__*/ new Map(
  /*#__PURE__*/ Object.entries(FAST).map(([name, compute]) => [
    name,
    fastMapped(`binary ${name}`, compute),
  ]),
);
const INTEGER_NAMES = /*#__PURE__*/ Object.keys(INTEGERS);
const integerRoutine: MappedKinds2 = /*#__PURE__*/ mappedKinds(
  "binary integers",
  /*#__PURE__*/ Object.values(INTEGERS),
);
const powerRoutine: MappedKinds2 = /*#__PURE__*/ mappedKinds("binary pow", [
  /*#__PURE__*/ floats(pow4),
]);

/** Elements of a task where each costs a power. */
const POWER_GRAIN = 2048;

/** A function of each pair of elements; shapes broadcast. */
export const binary: Kernel = (call) => {
  const { kind, scalar } = call.attributes<BinaryAttributes>();
  const a = call.input(0);
  const { dtype } = a;
  const sources = [a, rightOf(call.optional(1), scalar)];
  const output = call.reuse(0);
  const to = output.address;
  const fast = FAST_ROUTINES.get(`${kind} ${dtype}`);
  if (fast) launchSources(call, fast, to, sources, dtype);
  else if (dtype === "f32") {
    launchSources(call, powerRoutine, to, sources, dtype, { kind: 0 }, POWER_GRAIN);
  } else {
    launchSources(call, integerRoutine, to, sources, dtype, { kind: integerKind(kind, dtype) });
  }
  return [output];
};

function integerKind(kind: BinaryKind, dtype: DType): number {
  const own = INTEGER_NAMES.indexOf(`${kind} ${dtype}`);
  return own >= 0 ? own : INTEGER_NAMES.indexOf(`${kind} i32`);
}

/** The right operand: the tensor, or the scalar. */
export function rightOf(operand: Operand | undefined, scalar: number | undefined): Source {
  return operand ?? scalar ?? 0;
}

/** Routines of these kernels. */
export const binaryRoutines: readonly Routine[] = [
  .../*#__PURE__*/ FAST_ROUTINES.values(),
  integerRoutine,
  powerRoutine,
];
