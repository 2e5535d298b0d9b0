import { type DType, type Shape, sameShape, sizeOf, stridesOf } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { I32x4 } from "../../emit/vectors.ts";
import type { KernelCall, Operand } from "../../kernel.ts";
import type { Parameters, Routine } from "../../routine.ts";
import { type Grid, type Walked, broadcastStrides, gridOf, launchWalk } from "../grid.ts";
import { bitsOf } from "./scalars.ts";

/** What elementwise kernels read: a tensor, or one number for every place. */
export type Source = Operand | number;

/** Names under which routines know up to three sources. */
export type SourceName = "a" | "b" | "c";

/** Parameters of one source beside those of the walk. */
export type SourceParameters<N extends SourceName> = Readonly<
  Record<`${N}Step` | `${N}Scalar` | `${N}IsScalar`, typeof I32>
>;

/** {@link SourceParameters}. */
export function sourceParameters<N extends SourceName>(names: readonly N[]): SourceParameters<N> {
  const keys = names.flatMap((name) => [`${name}Step`, `${name}Scalar`, `${name}IsScalar`]);
  return Object.fromEntries(keys.map((key) => [key, I32])) as SourceParameters<N>;
}

/** What a routine sees of {@link SourceParameters}. */
export type SourceArguments<N extends SourceName> = Readonly<
  Record<`${N}Step` | `${N}Scalar` | `${N}IsScalar`, I32>
>;

/** The one word that a source has in a whole row, four times; anything where it has several. */
export function splatOf<N extends SourceName>(
  body: Body,
  args: SourceArguments<N>,
  name: N,
  address: I32,
): I32x4 {
  const [scalar, isScalar] = [args[`${name}Scalar`], args[`${name}IsScalar`]];
  return body.let(I32x4.splat(scalar.select(isScalar, I32.load(address))));
}

/**
 * Runs a routine over the places of an output of words, with sources that broadcast to it. Each source
 * has one word in a row of the walk, or one for each place. `settings` are further arguments.
 */
export function launchSources<P extends Parameters>(
  call: KernelCall,
  routine: Routine<P>,
  to: number,
  sources: readonly Source[],
  dtype: DType,
  settings: Readonly<Record<string, number>> = {},
  grain?: number,
): void {
  const { sizes, strides } = gridFor(call.spec(0).shape, sources);
  const [a, b, c] = sources;
  const [toStrides = [], ...others] = strides;
  const [aStrides = [], bStrides = [], cStrides = []] = others;
  const arrays = {
    to: wordsAt(to, toStrides),
    a: wordsAt(addressOf(a), aStrides),
    b: wordsAt(addressOf(b), bStrides),
    c: wordsAt(addressOf(c), cStrides),
  };
  const args = {
    ...settings,
    aStep: aStrides.at(-1) ?? 0,
    bStep: bStrides.at(-1) ?? 0,
    cStep: cStrides.at(-1) ?? 0,
    aScalar: scalarOf(a, dtype),
    bScalar: scalarOf(b, dtype),
    cScalar: scalarOf(c, dtype),
    aIsScalar: Number(typeof a === "number"),
    bIsScalar: Number(typeof b === "number"),
    cIsScalar: Number(typeof c === "number"),
  };
  launchWalk(call, routine, sizes, arrays, args, { grain });
}

const ONE: readonly number[] = [1];
const NONE: readonly number[] = [0];

/** The grid of an output, with its own strides first; those of numbers are 0. */
function gridFor(shape: Shape, sources: readonly Source[]): Grid {
  if (sources.every((source) => typeof source === "number" || sameShape(source.shape, shape))) {
    const strides = sources.map((source) => (typeof source === "number" ? NONE : ONE));
    return { sizes: [sizeOf(shape)], strides: [ONE, ...strides] };
  }
  return gridOf(shape, [
    stridesOf(shape),
    ...sources.map((source) =>
      typeof source === "number" ? shape.map(() => 0) : broadcastStrides(source.shape, shape),
    ),
  ]);
}

function wordsAt(address: number, strides: readonly number[]): Walked {
  return { address, strides: strides.map((stride) => stride * 4) };
}

/** A number is read from the begin of memory, and what was read there is not used. */
function addressOf(source: Source | undefined): number {
  return typeof source === "object" ? source.address : 0;
}

function scalarOf(source: Source | undefined, dtype: DType): number {
  return typeof source === "number" ? bitsOf(source, dtype) : 0;
}
