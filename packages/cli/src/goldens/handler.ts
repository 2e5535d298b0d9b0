import type { Backend, Tensor } from "@moiety/core";
import { type Precision, float32Tolerance, float64Tolerance } from "./budget.ts";
import type { GoldenCase, Values } from "./case.ts";
import { Ledger, type Verdict } from "./ledger.ts";

/** What a case is run on. */
export interface RunContext {
  readonly backend: Backend;
  readonly precision: Precision;
  /** Bounds of a tensor's elements, where the backend is the conformance kit's yardstick. */
  readonly boundsOf?: ((tensor: Tensor) => Promise<Float64Array>) | undefined;
  /** What the yardstick found, by the name under which it was compared: bounds of a float32 run. */
  readonly measured?: ReadonlyMap<string, Values> | undefined;
  /** Whether recorded choices are played back, by handlers that can. */
  readonly replay?: boolean | undefined;
}

/** Runs one kind of case. What it throws fails the case. */
export type CaseHandler = (golden: GoldenCase, context: RunContext) => Promise<Verdict>;

/**
 * Opens the account of a case.
 *
 * @param lengths those of the sums behind the case's numbers: a float32 run is held to them where the
 *   yardstick's bounds say nothing
 * @param isSkipped names what is not a result: inputs, weights, masks, runs in another precision
 */
export function openLedger(
  { tensors }: GoldenCase,
  { precision, measured }: RunContext,
  lengths: readonly number[],
  isSkipped: (name: string) => boolean,
): Ledger {
  const tolerance = precision === "f64" ? float64Tolerance : float32Tolerance(lengths);
  return new Ledger(tensors, tolerance, isSkipped, measured);
}

/** Whether a tensor was recorded in float32, beside the float64 truth. */
export function isFloat32Run(name: string): boolean {
  return name.startsWith("f32.");
}
