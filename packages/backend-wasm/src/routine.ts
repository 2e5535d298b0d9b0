import type { Body } from "./emit/body.ts";
import { type Kind, F32, I32 } from "./emit/scalars.ts";

/** The arguments of a routine: addresses, counts and flags as `I32`, numbers as `F32`. */
export type Parameters = Readonly<Record<string, Kind<I32> | Kind<F32>>>;

/** Parameters of these names that are words: addresses, counts, flags. */
export type Words<Names extends string> = { readonly [K in Names]: typeof I32 };

/** Parameters of these names that are numbers. */
export type Floats<Names extends string> = { readonly [K in Names]: typeof F32 };

/** The arguments inside a routine. */
export type Arguments<P extends Parameters> = {
  readonly [K in keyof P]: InstanceType<P[K]>;
};

/** The arguments of a launch: plain numbers; addresses may be above 2^31. */
export type LaunchArguments<P extends Parameters> = { readonly [K in keyof P]: number };

/** One function of the library: it does the task of a number, between 0 and those that are launched. */
export interface Routine<P extends Parameters = Parameters> {
  readonly name: string;
  readonly parameters: P;
  /** Writes the body. */
  write(body: Body, args: Arguments<P>, task: I32): void;
}

/**
 * Defines a routine. Tasks run in any order and on any thread, so no two may write the same bytes, and
 * none may read what another writes. How work is cut into tasks must follow from shapes alone.
 */
export function defineRoutine<P extends Parameters>(
  name: string,
  parameters: P,
  write: Routine<P>["write"],
): Routine<P> {
  return { name, parameters, write };
}

/** Bytes of one argument in memory. */
export const ARGUMENT_BYTES = 4;

/** Reads the arguments where the launch put them. */
export function readArguments<P extends Parameters>(
  body: Body,
  parameters: P,
  address: I32,
): Arguments<P> {
  const entries = Object.entries(parameters).map(([name, kind], index) => {
    const offset = index * ARGUMENT_BYTES;
    const value = kind === F32 ? F32.load(address, offset) : I32.load(address, offset);
    return [name, body.let(value)];
  });
  return Object.fromEntries(entries) as Arguments<P>;
}

/** Writes the arguments of a launch. */
export function writeArguments<P extends Parameters>(
  view: DataView,
  address: number,
  parameters: P,
  args: LaunchArguments<P>,
): void {
  let at = address;
  for (const name in parameters) {
    const value = args[name];
    if (value === undefined) throw new TypeError(`the argument ${name} is missing`);
    if ((parameters as Parameters)[name] === F32) view.setFloat32(at, value, true);
    else view.setUint32(at, value, true);
    at += ARGUMENT_BYTES;
  }
}
