import { describe, expect, it } from "vitest";
import { rowOf } from "../rows.ts";
import { bestOf, withBound, withBounds } from "./bounds.ts";
import { withCostGoal } from "./dense.ts";

const bounds = { flops: 100e9, byteOps: 300e9, bytes: 10e9 };

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
    const other = { flops: 90e9, byteOps: 310e9, bytes: 12e9 };
    expect(bestOf(bounds, other)).toEqual({ flops: 100e9, byteOps: 310e9, bytes: 12e9 });
  });

  it("are those on bytes where activations are rounded", () => {
    const cost = { operations: 3e9, bytes: 1e7 };
    const peaks = { peakGflops: 100, peakByteGops: 300, peakGBs: 10 };
    const floats = withBounds(rowOf("x", 40, null, null, cost), bounds, 2);
    expect(floats).toMatchObject({ ...peaks, threads: 2, boundMs: 30, share: 0.75 });
    const rounded = rowOf("x", 40, null, null, { ...cost, rounded: true });
    expect(withBounds(rounded, bounds, 2)).toMatchObject({ ...peaks, boundMs: 10, share: 0.25 });
  });

  it("allow a layer of few rows for each expert what its bytes cost", () => {
    const cost = { operations: 1e9, bytes: 2e8 };
    const few = rowOf("few", 30, "dense", 20, { ...cost, rowsPerExpert: 4 });
    expect(withCostGoal(few, bounds)).toMatchObject({ costGoal: 2.3, bytesOverFlops: 2 });
    const many = rowOf("many", 30, "dense", 20, { ...cost, rowsPerExpert: 64 });
    expect(withCostGoal(many, bounds)).toMatchObject({ costGoal: 1.15, goal: 0.8696 });
  });
});
