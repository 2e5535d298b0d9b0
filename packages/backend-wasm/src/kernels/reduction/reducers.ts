import type { DType, ReduceKind } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import type { I32, Kind } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { floatsOf, keysOf } from "./keys.ts";
import type { Words } from "./lanes.ts";

/** A way to make one of many elements, four at a time. */
export interface Reducer<V extends Words> {
  readonly name: string;
  readonly kind: Kind<V>;
  /** What changes nothing when it is joined. */
  start(): V;
  /** Four elements from memory, as they are joined; `flip` is what {@link flipOf} says. */
  take(body: Body, address: I32, flip: I32): V;
  /** Two vectors as one. */
  join(a: V, b: V): V;
  /** Joined elements as they are stored; {@link take} gives them back. */
  give(body: Body, value: V, flip: I32): Words;
}

const sumOfFloats: Reducer<F32x4> = {
  name: "sumFloats",
  kind: F32x4,
  start: () => F32x4.const(0),
  take: (_, address) => F32x4.load(address),
  join: (a, b) => a.add(b),
  give: (_, value) => value,
};

const sumOfIntegers: Reducer<I32x4> = {
  name: "sumIntegers",
  kind: I32x4,
  start: () => I32x4.const(0),
  take: (_, address) => I32x4.load(address),
  join: (a, b) => a.add(b),
  give: (_, value) => value,
};

/** The largest in the order of signed integers, into which `flip` brings whatever is wanted. */
const extremeOfIntegers: Reducer<I32x4> = {
  name: "extremeOfIntegers",
  kind: I32x4,
  start: () => I32x4.const(-0x80000000),
  take: (_, address, flip) => I32x4.load(address).xor(I32x4.splat(flip)),
  join: (a, b) => a.max(b),
  give: (_, value, flip) => value.xor(I32x4.splat(flip)),
};

/** The largest by keys, after `flip` has turned the sign or not: NaN loses both ways. */
const extremeOfFloats: Reducer<I32x4> = {
  name: "extremeOfFloats",
  kind: I32x4,
  start: () => I32x4.const(-0x80000000),
  take: (body, address, flip) => keysOf(body, I32x4.load(address).xor(I32x4.splat(flip)).as(F32x4)),
  join: (a, b) => a.max(b),
  give: (body, value, flip) => floatsOf(body, value).as(I32x4).xor(I32x4.splat(flip)),
};

/** For each way, what `make` makes of it. */
export function eachReducer<T>(make: <V extends Words>(reducer: Reducer<V>) => T): readonly T[] {
  return [make(sumOfFloats), make(sumOfIntegers), make(extremeOfIntegers), make(extremeOfFloats)];
}

/** Place in what {@link eachReducer} gives, of what a call asks for. */
export function reducerOf(kind: ReduceKind, dtype: DType): 0 | 1 | 2 | 3 {
  if (kind === "sum") return dtype === "f32" ? 0 : 1;
  return dtype === "f32" ? 3 : 2;
}

/** The bits in which elements are turned so that the largest one is wanted. */
export function flipOf(kind: ReduceKind, dtype: DType): number {
  const sign = 0x80000000;
  if (dtype === "f32") return kind === "min" ? sign : 0;
  return ((dtype === "u32" ? sign : 0) ^ (kind === "min" ? 0xffffffff : 0)) >>> 0;
}
