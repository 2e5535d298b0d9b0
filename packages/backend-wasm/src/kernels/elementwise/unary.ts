import type { UnaryKind } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { eachFlat, flatTasks } from "../flat.ts";
import {
  cos4,
  erf4,
  exp4,
  log1p4,
  log4,
  sigmoid4,
  sin4,
  softplus4,
  tanh4,
} from "../functions/index.ts";
import { VECTOR } from "../vector-loop.ts";

type Floats = (body: Body, x: F32x4) => F32x4 | I32x4;
type Words = (body: Body, x: I32x4) => I32x4;

const one = (): F32x4 => F32x4.const(1);

/** Functions of floats. `x` is a local. */
const FLOATS: Readonly<Record<Exclude<UnaryKind, "not">, Floats>> = {
  neg: (_, x) => x.neg(),
  abs: (_, x) => x.abs(),
  // Zeros and NaN are left as they are.
  sign: (_, x) => {
    const below = x.lt(F32x4.const(0)).choose(F32x4.const(-1), x);
    return x.gt(F32x4.const(0)).choose(one(), below);
  },
  exp: exp4,
  log: log4,
  log1p: log1p4,
  sqrt: (_, x) => x.sqrt(),
  rsqrt: (_, x) => one().div(x.sqrt()),
  reciprocal: (_, x) => one().div(x),
  tanh: tanh4,
  erf: erf4,
  sigmoid: sigmoid4,
  softplus: softplus4,
  sin: sin4,
  cos: cos4,
  floor: (_, x) => x.floor(),
  ceil: (_, x) => x.ceil(),
  round: (_, x) => x.nearest(),
  isNaN: (_, x) => x.ne(x).shrU(31),
};

/** Functions of integers and truths. */
const WORDS = {
  neg: (_, x) => x.neg(),
  abs: (_, x) => x.abs(),
  sign: (_, x) => x.lt(I32x4.const(0)).sub(x.gt(I32x4.const(0))),
  notZero: (_, x) => x.ne(I32x4.const(0)).shrU(31),
  not: (_, x) => x.eq(I32x4.const(0)).shrU(31),
  same: (_, x) => x,
} as const satisfies Readonly<Record<string, Words>>;

/** Those of them that run at the speed of memory: so many vectors in one step. */
const CHEAP: ReadonlySet<string> = /*#__PURE__*/ new Set([
  "neg",
  "abs",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "floor",
  "ceil",
  "round",
]);
const CHEAP_VECTORS = 4;

/** A routine that maps `count` words from `from` to `to`. */
export type MapRoutine = Routine<{
  readonly to: typeof I32;
  readonly from: typeof I32;
  readonly count: typeof I32;
}>;

/** Makes a routine that maps words, four at a time. */
function mapRoutine(
  name: string,
  vectors: number,
  compute: (body: Body, address: I32, offset: number) => F32x4 | I32x4,
): MapRoutine {
  return defineRoutine(name, { to: I32, from: I32, count: I32 }, (body, args, task) => {
    eachFlat(body, task, args.count, 4 * vectors, (index) => {
      const offset = body.let(index.shl(2));
      const from = body.let(args.from.add(offset));
      const to = body.let(args.to.add(offset));
      for (let at = 0; at < vectors * VECTOR; at += VECTOR) {
        body.store(to, compute(body, from, at), at);
      }
    });
  });
}

function entriesOf<K extends string, V>(record: Readonly<Record<K, V>>): [K, V][] {
  return Object.entries(record) as [K, V][];
}

const FLOAT_ROUTINES: ReadonlyMap<string, MapRoutine> = /*#__PURE__*/ new Map(
  /*#__PURE__*/ entriesOf(FLOATS).map(([kind, compute]) => [
    kind,
    mapRoutine(`unary ${kind} f32`, CHEAP.has(kind) ? CHEAP_VECTORS : 1, (body, address, offset) =>
      compute(body, body.let(F32x4.load(address, offset))),
    ),
  ]),
);

const WORD_ROUTINES: ReadonlyMap<string, MapRoutine> = /*#__PURE__*/ new Map(
  /*#__PURE__*/ entriesOf<string, Words>(WORDS).map(([kind, compute]) => [
    kind,
    mapRoutine(`unary ${kind} words`, 1, (body, address, offset) =>
      compute(body, body.let(I32x4.load(address, offset))),
    ),
  ]),
);

/** A function of each element. */
export const unary: Kernel = (call) => {
  const { kind } = call.attributes<{ kind: UnaryKind }>();
  const { dtype, address, size } = call.input(0);
  const output = call.reuse(0);
  const routine =
    dtype === "f32" ? FLOAT_ROUTINES.get(kind) : WORD_ROUTINES.get(wordsKind(kind, dtype));
  if (routine === undefined) throw new TypeError(`no routine for unary ${kind} of ${dtype}`);
  call.launch(routine, { to: output.address, from: address, count: size }, flatTasks(size));
  return [output];
};

function wordsKind(kind: UnaryKind, dtype: string): string {
  if (dtype !== "u32") return kind;
  if (kind === "abs") return "same";
  return kind === "sign" ? "notZero" : kind;
}

/** Routines of these kernels. */
export const unaryRoutines: readonly Routine[] = [
  .../*#__PURE__*/ FLOAT_ROUTINES.values(),
  .../*#__PURE__*/ WORD_ROUTINES.values(),
];
