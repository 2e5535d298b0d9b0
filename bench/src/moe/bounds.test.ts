import { describe, expect, it } from "vitest";
import { rowOf } from "../rows.ts";
import { bestOf, withBound } from "./bounds.ts";
import { withCostGoal } from "./dense.ts";

const bounds = { flops: 100e9, bytes: 10e9 };

describe("bounds", () => {
  it.each([
    ["FLOPs", { operations: 2e9, bytes: 1e8 }, 20, 0.5],
    ["bytes", { operations: 1e8, bytes: 1e8 }, 10, 0.25],
  ] as const)("name what takes longest: %s", (bound, cost, boundMs, share) => {
    const row = withBound(rowOf("x", 40, null, null, cost), bounds);
    expect(row).toMatchObject({ bound, boundMs, share });
  });

  it("leave rows alone that tell no cost", () => {
    const row = rowOf("x", 40);
    expect(withBound(row, bounds)).toBe(row);
    expect(withCostGoal(row, bounds)).toBe(row);
  });

  it("are the best of several measurements", () => {
    const other = { flops: 90e9, bytes: 12e9 };
    expect(bestOf(bounds, other)).toEqual({ flops: 100e9, bytes: 12e9 });
  });

  it("allow a layer of few rows for each expert what its bytes cost", () => {
    const cost = { operations: 1e9, bytes: 2e8 };
    const few = rowOf("few", 30, "dense", 20, { ...cost, rowsPerExpert: 4 });
    expect(withCostGoal(few, bounds)).toMatchObject({ costGoal: 2.3, bytesOverFlops: 2 });
    const many = rowOf("many", 30, "dense", 20, { ...cost, rowsPerExpert: 64 });
    expect(withCostGoal(many, bounds)).toMatchObject({ costGoal: 1.15, goal: 0.8696 });
  });
});
