import { type Tensor, argsort } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { EXPERT_COUNTS, distinctLogits, edited, levelCase, reshaped, upTo } from "./l1-support.ts";

function argsortCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return levelCase("L1", `argsort/${id}`, demand, [argsort], run);
}

/** Both directions. */
function bothWays(x: Tensor, mask?: Tensor): Record<string, Tensor> {
  return {
    ascending: argsort(x, mask, {}),
    descending: argsort(x, mask, { descending: true }),
  };
}

/** A case that sorts host values in both directions. */
function valuesCase(
  id: string,
  demand: string,
  make: (test: CaseContext) => HostTensor,
): ConformanceCase {
  return argsortCase(id, demand, async (test) => {
    await test.compare({ x: make(test) }, ({ inputs: { x } }) => bothWays(x));
  });
}

/** argsort: the order itself, its ties, masks and edges. */
export const argsortCases: readonly ConformanceCase[] = [
  argsortCase("widths", "argsort sorts rows of every width, in both directions", async (test) => {
    const inputs = Object.fromEntries(
      EXPERT_COUNTS.map((width) => [`x${width}`, distinctLogits(test.random, 3, width)]),
    );
    await test.compare(inputs, ({ inputs }) =>
      Object.fromEntries(
        Object.entries(inputs).flatMap(([name, x]) =>
          Object.entries(bothWays(x)).map(([way, order]) => [`${name} ${way}`, order]),
        ),
      ),
    );
  }),
  valuesCase("long-row", "argsort sorts one row of 2049 elements", ({ random }) => {
    const order = random.permutation(2049);
    return generated([2049], "f32", (index) => (order.data[index] ?? 0) / 8 - 100);
  }),
  valuesCase("rank-3", "argsort works along the last axis of rank 3", ({ random }) =>
    reshaped(distinctLogits(random, 12, 7), [3, 4, 7]),
  ),
  argsortCase(
    "empty",
    "argsort of no rows, or of rows without elements, is empty",
    async (test) => {
      const inputs = { none: hostTensor([], "f32", [0, 8]), bare: hostTensor([], "f32", [3, 0]) };
      await test.compare(inputs, ({ inputs: { none, bare } }) => ({
        none: argsort(none),
        bare: argsort(bare),
      }));
    },
  ),
  valuesCase(
    "stable",
    "argsort keeps equals in the order of their indices, in both directions",
    ({ random }) => random.integers([9, 129], -2, 2, "f32"),
  ),
  valuesCase("stable-long", "argsort is stable in a row of 2049 elements", ({ random }) =>
    random.integers([2049], 0, 9, "f32"),
  ),
  valuesCase("i32", "argsort orders i32 by value over the whole range", ({ random }) => {
    const ends = [2 ** 31 - 1, -(2 ** 31), 0, -1, 1, 2 ** 31 - 1, -(2 ** 31)];
    return edited(
      random.bits([3, 33], "i32"),
      ends.map((value, place) => [place * 5, value]),
    );
  }),
  valuesCase("u32", "argsort orders u32 by value over the whole range", ({ random }) => {
    const ends = [2 ** 32 - 1, 2 ** 31, 2 ** 31 - 1, 0, 1, 2 ** 31, 2 ** 32 - 1];
    return edited(
      random.bits([3, 33], "u32"),
      ends.map((value, place) => [place * 5, value]),
    );
  }),
  valuesCase("i32-exact", "argsort tells integers apart that f32 could not", ({ random }) => {
    const order = random.permutation(33);
    return generated([33], "i32", (index) => 2 ** 24 + (order.data[index] ?? 0));
  }),
  valuesCase("minus-zero", "−0 equals 0 in both directions", () =>
    hostTensor([0, -0, 0, -0, 1, -0, -1, 0], "f32", [2, 4]),
  ),
  valuesCase(
    "nan",
    "NaN ranks below every number: first when ascending, last when descending",
    ({ random }) =>
      edited(
        distinctLogits(random, 5, 12),
        upTo(5).flatMap((row) =>
          upTo(row).map((step) => [row * 12 + ((row + 5 * step) % 12), Number.NaN] as const),
        ),
      ),
  ),
  argsortCase(
    "mask",
    "masked elements come last in both directions, in the order of their indices",
    async (test) => {
      const x = edited(distinctLogits(test.random, 9, 12), [[14, Number.NaN]]);
      const mask = test.random.bools([9, 12], 0.5);
      await test.compare({ x, mask }, ({ inputs: { x, mask } }) => bothWays(x, mask));
    },
  ),
];
