import { type Tensor, unary } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { hostTensor } from "../host-tensor.ts";

/** A case that does what it is told; `L0/fake/<name>` unless the parts say otherwise. */
export function fakeCase(
  name: string,
  run: (test: CaseContext) => unknown,
  parts: Partial<ConformanceCase> = {},
): ConformanceCase {
  return {
    id: `L0/fake/${name}`,
    level: "L0",
    demand: `the demand of ${name}`,
    ops: [],
    since: "2026-11-22",
    run: async (test) => void (await run(test)),
    ...parts,
  };
}

/** A case that negates a few numbers and compares them. */
export const negates: ConformanceCase = fakeCase("negates", (test) =>
  test.compare({ x: hostTensor([1, -2, 3]) }, ({ inputs: { x } }) => ({
    y: unary(x, { kind: "neg" }),
  })),
);

/** Tensors that a test makes and gives back itself. */
export function negated(x: Tensor): Tensor {
  return unary(x, { kind: "neg" });
}
