import type { Body } from "../../emit/body.ts";
import type { I32 } from "../../emit/scalars.ts";
import type { F32x4 } from "../../emit/vectors.ts";
import {
  BLOCK,
  type HalfByteTables,
  byteNumbers,
  halfByteTurns,
  halvesOfBytes,
  loadBytes,
} from "./codes.ts";
import { PANEL } from "./matrix.ts";

/** How the codes of a panel are held: whole bytes, or two in each, whose numbers are in tables. */
export type Held = "bytes" | HalfByteTables;

/** Steps of k that are read at once. */
export const STEPS = 4;
/** Such rounds in a block. */
export const ROUNDS: number = BLOCK / STEPS;

/** Bytes of {@link STEPS} steps of a panel. */
export function stepsBytes(held: Held): number {
  return held === "bytes" ? STEPS * PANEL : (STEPS * PANEL) / 2;
}

/**
 * The numbers of four steps of a panel's codes, without their scales: two vectors for each step, of
 * which `visit` is told the step and which it is.
 */
export function eachNumber(
  body: Body,
  held: Held,
  codes: I32,
  visit: (number: F32x4, step: number, vector: number) => void,
): void {
  if (held === "bytes") {
    for (let step = 0; step < STEPS; step++) {
      const numbers = byteNumbers(body, codes, step * PANEL);
      for (const [vector, number] of numbers.entries()) visit(number, step, vector);
    }
    return;
  }
  const halves = halvesOfBytes(body, loadBytes(codes));
  for (const [half, bytes] of halves.entries()) {
    for (const [index, number] of halfByteTurns(body, bytes, held).entries()) {
      visit(number, half * 2 + (index >> 1), index & 1);
    }
  }
}
