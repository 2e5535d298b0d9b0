import type { Backend } from "@moiety/core";
import { type Precision, type Tolerance, float32Tolerance, float64Tolerance } from "./budget.ts";
import type { GoldenCase } from "./case.ts";
import type { Verdict } from "./ledger.ts";

/** What a case is run on. */
export interface RunContext {
  readonly backend: Backend;
  readonly precision: Precision;
}

/** Runs one kind of case. What it throws fails the case. */
export type CaseHandler = (golden: GoldenCase, context: RunContext) => Promise<Verdict>;

/** The tolerance of a run; `lengths` are those of the sums behind the case's numbers. */
export function toleranceOf(precision: Precision, lengths: readonly number[]): Tolerance {
  return precision === "f64" ? float64Tolerance : float32Tolerance(lengths);
}

/** Whether a tensor was recorded in float32, beside the float64 truth. */
export function isFloat32Run(name: string): boolean {
  return name.startsWith("f32.");
}
