import { describe, expect, it } from "vitest";
import { float32Tolerance, float64Tolerance } from "./budget.ts";
import type { Recorded } from "./case.ts";
import { Ledger, type Verdict } from "./ledger.ts";

const recorded = (
  name: string,
  values: readonly number[],
  shape: readonly number[] = [values.length],
  isInteger = false,
): Recorded => ({ name, shape, isInteger, data: Float64Array.from(values) });

/** Holds values against recorded tensors and closes the account. */
function verdictOf(
  tensors: readonly Recorded[],
  actual: Readonly<Record<string, readonly number[]>>,
  shapes: Readonly<Record<string, readonly number[]>> = {},
): Verdict {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const ledger = new Ledger(byName, float64Tolerance, (name) => name === "x");
  for (const [name, values] of Object.entries(actual)) {
    const shape = shapes[name] ?? byName.get(name)?.shape ?? [];
    ledger.compare(name, { shape, data: Float64Array.from(values) });
  }
  return ledger.close();
}

describe("the account of a case", () => {
  it("passes what is within 1e-10 of the row's largest number, and fails what is not", () => {
    const output = recorded("output", [1, 2, 100, 200], [2, 2]);
    expect(verdictOf([output], { output: [1 + 1.9e-10, 2, 100, 200] }).passed).toBe(true);
    const verdict = verdictOf([output], { output: [1 + 2.1e-10, 2, 100, 200] });
    expect(verdict.passed).toBe(false);
    expect(verdict.worst).toMatchObject({ tensor: "output", row: 0, reference: 1 });
    expect(verdict.worst?.error).toBeCloseTo(1.05, 2);
  });

  it("never asks for more than 1e-12 of the largest number in the case", () => {
    const tensors = [recorded("output", [1000]), recorded("grad.x", [1e-17])];
    expect(verdictOf(tensors, { output: [1000], "grad.x": [9e-10] }).passed).toBe(true);
    expect(verdictOf(tensors, { output: [1000], "grad.x": [2e-9] }).passed).toBe(false);
  });

  it("does not let inputs raise the floor", () => {
    const tensors = [recorded("x", [1e6]), recorded("output", [1, 0], [2, 1])];
    expect(verdictOf(tensors, { output: [1, 5e-12] }).passed).toBe(false);
  });

  it("fails NaN on either side", () => {
    const output = recorded("output", [1, 2]);
    const verdict = verdictOf([output], { output: [1, Number.NaN] });
    expect(verdict.passed).toBe(false);
    expect(verdict.worst).toMatchObject({ error: null, actual: null });
    const damaged = recorded("output", [1, Number.NaN]);
    expect(verdictOf([damaged], { output: [1, Number.NaN] }).passed).toBe(false);
  });

  it("tells what was held to a rule, and fails where the rule is broken", () => {
    const map = recorded("dispatch_mask", [1, 0], [2], true);
    const judged = (problem?: string): Verdict => {
      const ledger = new Ledger(new Map([["dispatch_mask", map]]), float64Tolerance, () => false);
      ledger.judge("dispatch_mask", "equals may be dropped in any order", problem);
      return ledger.close();
    };
    expect(judged()).toMatchObject({
      passed: true,
      compared: ["dispatch_mask"],
      notes: ["dispatch_mask: equals may be dropped in any order"],
    });
    expect(judged("one too many")).toMatchObject({
      passed: false,
      failures: ["dispatch_mask: one too many"],
    });
    const none = new Ledger(new Map(), float64Tolerance, () => false);
    none.judge("output", "anything goes");
    expect(none.close().passed).toBe(false);
  });

  it("compares whole numbers exactly", () => {
    const chosen = recorded("selected_experts", [3, 63], [2], true);
    expect(verdictOf([chosen], { selected_experts: [3, 63] }).passed).toBe(true);
    expect(verdictOf([chosen], { selected_experts: [3, 62] }).failures[0]).toMatch(/62 where 63/);
  });

  it("fails tensors that nobody compared, of another shape, or that are not there", () => {
    const tensors = [recorded("x", [1]), recorded("output", [1, 2, 3, 4], [1, 2, 2])];
    expect(verdictOf(tensors, {}).failures).toEqual([
      "output was not compared",
      "nothing was compared",
    ]);
    const flat = { output: [1, 2, 3, 4] };
    expect(verdictOf(tensors, flat, { output: [2, 2] }).passed).toBe(true);
    expect(verdictOf(tensors, flat, { output: [4] }).failures[0]).toMatch(/\[4\], but \[1, 2, 2\]/);
    expect(verdictOf(tensors, { ...flat, other: [1] }).failures).toEqual([
      "other is not in the case",
    ]);
  });

  it("lists what was compared and what was skipped", () => {
    const verdict = verdictOf([recorded("x", [1]), recorded("output", [1])], { output: [1] });
    expect(verdict).toMatchObject({ compared: ["output"], skipped: ["x"], failures: [] });
  });

  it("gives float32 room by the lengths of the sums", () => {
    const tolerance = float32Tolerance([64, 128]);
    expect(tolerance(1, 1)).toBe(2 * 2 ** -24 * 200);
    expect(tolerance(1e-9, 1)).toBe(tolerance(1e-2, 1));
    expect(float64Tolerance(1, 1)).toBe(1e-10);
  });
});
