import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { type Vector, I32x4 } from "../../emit/vectors.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { type WalkParameters, type WalkedRow, eachRow, walkParameters } from "../grid.ts";
import { eachVector, storeFirst } from "../vector-loop.ts";
import {
  type SourceArguments,
  type SourceName,
  type SourceParameters,
  sourceParameters,
  splatOf,
} from "./operands.ts";

/** Four words of the output from four of each source, which are locals. */
export type Compute2 = (body: Body, a: I32x4, b: I32x4) => Vector;
/** {@link Compute2}, of three sources. */
export type Compute3 = (body: Body, a: I32x4, b: I32x4, c: I32x4) => Vector;

/** Parameters of a routine that maps sources which broadcast to the output. */
export type MappedParameters<N extends SourceName> = WalkParameters<"to" | N> & SourceParameters<N>;

/** A routine of two sources. */
export type Mapped2 = Routine<MappedParameters<"a" | "b">>;
/** A routine of two sources that has several functions, of which the launch names one. */
export type MappedKinds2 = Routine<MappedParameters<"a" | "b"> & { readonly kind: typeof I32 }>;
/** A routine of three sources. */
export type Mapped3 = Routine<MappedParameters<"a" | "b" | "c">>;

/** Gives the four words of a source at a place of its row. */
type Load = (offset: I32, constant: number) => I32x4;

const PAIR = ["a", "b"] as const;
const TRIPLE = ["a", "b", "c"] as const;
const PAIR_PARAMETERS = {
  .../*#__PURE__*/ walkParameters(["to", ...PAIR]),
  .../*#__PURE__*/ sourceParameters(PAIR),
};
const TRIPLE_PARAMETERS = {
  .../*#__PURE__*/ walkParameters(["to", ...TRIPLE]),
  .../*#__PURE__*/ sourceParameters(TRIPLE),
};
const UNROLL = 4;

/** For functions that run at the speed of memory: a loop for each way in which the sources broadcast. */
export function fastMapped(name: string, compute: Compute2): Mapped2 {
  return defineRoutine(name, PAIR_PARAMETERS, (body, args, task) => {
    eachRow(body, args, ["to", ...PAIR], task, (row) => {
      const splat = (source: "a" | "b"): Load => {
        const words = splatOf<"a" | "b">(body, args, source, row.at[source]);
        return () => words;
      };
      const vector = (source: "a" | "b"): Load => {
        return (offset, constant) => I32x4.load(row.at[source].add(offset), constant);
      };
      const loop = (a: Load, b: Load): void =>
        mapRow(body, row, UNROLL, (offset, constant) =>
          compute(body, body.let(a(offset, constant)), body.let(b(offset, constant))),
        );
      const leftSplat = (): void => loop(splat("a"), vector("b"));
      const neitherSplat = (): void => loop(vector("a"), vector("b"));
      body.if(
        args.bStep.not(),
        () => loop(vector("a"), splat("b")),
        () => body.if(args.aStep.not(), leftSplat, neitherSplat),
      );
    });
  });
}

/** For functions that cost more, or are met less, than looking each time how a source broadcasts. */
export function mappedKinds(name: string, computes: readonly Compute2[]): MappedKinds2 {
  return defineRoutine(name, { ...PAIR_PARAMETERS, kind: I32 }, (body, args, task) => {
    eachRow(body, args, ["to", ...PAIR], task, (row) => {
      const load = eitherWay<"a" | "b">(body, args, row);
      const [a, b] = [load("a"), load("b")];
      for (const [kind, compute] of computes.entries()) {
        body.if(args.kind.eq(kind), () =>
          mapRow(body, row, 1, (at) => compute(body, body.let(a(at, 0)), body.let(b(at, 0)))),
        );
      }
    });
  });
}

/** {@link mappedKinds}, of one kind and three sources. */
export function mapped3(name: string, compute: Compute3): Mapped3 {
  return defineRoutine(name, TRIPLE_PARAMETERS, (body, args, task) => {
    eachRow(body, args, ["to", ...TRIPLE], task, (row) => {
      const load = eitherWay(body, args, row);
      const [a, b, c] = [load("a"), load("b"), load("c")];
      mapRow(body, row, 1, (at) =>
        compute(body, body.let(a(at, 0)), body.let(b(at, 0)), body.let(c(at, 0))),
      );
    });
  });
}

/** Loads of a source that may have one word or many in the row. */
function eitherWay<N extends SourceName>(
  body: Body,
  args: SourceArguments<N>,
  { at }: { readonly at: Readonly<Record<N, I32>> },
): (source: N) => Load {
  return (source) => {
    const splat = splatOf(body, args, source, at[source]);
    const mask = body.let(I32.const(0).sub(args[`${source}Step`]));
    const lanes = body.let(I32x4.splat(mask));
    // Where there is one word, the vector is read at it, and not used.
    return (offset, constant) =>
      lanes.chooseInt(I32x4.load(at[source].add(offset.and(mask)), constant), splat);
  };
}

function mapRow(
  body: Body,
  { at, from, to }: WalkedRow<"to">,
  unroll: number,
  compute: (offset: I32, constant: number) => Vector,
): void {
  eachVector(
    body,
    from.shl(2),
    to.shl(2),
    unroll,
    (offset, constant) => body.store(at.to.add(offset), compute(offset, constant), constant),
    (offset, bytes) => storeFirst(body, at.to.add(offset), compute(offset, 0), bytes),
  );
}
