import { describe, expect, it } from "vitest";
import * as exported from "./index.ts";
import type { AnyOp } from "./op.ts";
import { allOps } from "./op-table.ts";

describe("the op table", () => {
  it("lists every op that is exported, once", () => {
    const found = Object.values(exported).filter(
      (value): value is typeof value & AnyOp => typeof value === "function" && "identity" in value,
    );
    expect(new Set(allOps)).toEqual(new Set(found));
    expect(new Set(allOps.map(({ name }) => name)).size).toBe(allOps.length);
  });

  it("exports every op under its own name", () => {
    for (const op of allOps) expect((exported as Record<string, unknown>)[op.name]).toBe(op);
  });

  it("demands at most 35 kernels", () => {
    const required = allOps.filter(({ identity }) => identity.kernel !== "optional");
    expect(required.length).toBeGreaterThan(20);
    expect(required.length).toBeLessThanOrEqual(35);
  });

  it("has a decomposition for every optional op, and for no other", () => {
    const wrong = allOps.filter(
      ({ identity, definition }) =>
        (identity.kernel === "optional") !== (definition.decompose !== undefined),
    );
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });

  it("gives every backward op the inputs that its forward op hands it", () => {
    for (const { name, definition } of allOps) {
      const backward = definition.backward?.();
      if (!backward) continue;
      expect(allOps).toContain(backward);
      // Routing's backward reads logits and indices: an input and an output.
      if (name !== "routeTopK") expect(definition.residuals).toBeDefined();
      expect(definition.gradient).toBeDefined();
    }
  });

  it("names only attributes as dynamic that no output shape depends on", () => {
    const shaping = ["shape", "axis", "axes", "sizes", "k", "groups", "segments", "keepDims"];
    const wrong = allOps.filter(({ identity }) =>
      identity.dynamic.some((attribute) => shaping.includes(attribute)),
    );
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });
});
