import { create } from "@moiety/backend-cpu";
import type { Backend } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { conform } from "../conform.ts";
import type { ReferenceCache } from "../reference.ts";
import { routingCases } from "./l1-cases.ts";
import { type Answered, claiming, planted } from "./testing/planted.ts";

const references: ReferenceCache = new Map();

/** Ids of the cases that a backend fails, of those that begin so; a kit's error is none. */
async function failures(make: () => Backend, cases: readonly string[]): Promise<string[]> {
  const report = await conform({
    createBackend: async () => make(),
    profile: "full",
    catalogue: routingCases,
    cases,
    references,
  });
  expect(report.counts.error).toBe(0);
  return report.cases.filter(({ status }) => status === "fail").map(({ id }) => id);
}

/** Rows of an answer's last axis, as pairs of bounds. */
function rows({ call }: Answered): { readonly k: number; readonly count: number } {
  const shape = call.outputs[0]?.shape ?? [];
  const k = shape.at(-1) ?? 0;
  return { k, count: k === 0 ? 0 : shape.reduce((size, one) => size * one, 1) / k };
}

interface Fault {
  readonly name: string;
  readonly caughtBy: readonly string[];
  readonly spares: readonly string[];
  readonly op: string;
  change(answered: Answered): void;
}

const FAULTS: readonly Fault[] = [
  {
    name: "ties go to the higher index",
    caughtBy: ["L1/top-k/ties-all-equal", "L1/route/ties-all-equal-softmax"],
    spares: ["L1/top-k/width-33", "L1/route/experts-33"],
    op: "topK",
    change(answered) {
      const { k, count } = rows(answered);
      const [values, ids, scores] = [answered.floats(0), answered.integers(1), answered.inputs(0)];
      const width = answered.call.inputs[0]?.shape.at(-1) ?? 0;
      for (let row = 0; row < count; row++) {
        for (let place = row * k; place < (row + 1) * k; place++) {
          const own = scores.subarray(row * width, (row + 1) * width);
          const taken = ids.subarray(row * k, place);
          const last = own.findLastIndex(
            (score, id) => score === values[place] && !taken.includes(id),
          );
          if (last >= 0) ids[place] = last;
        }
      }
    },
  },
  {
    name: "an index comes twice",
    caughtBy: ["L1/top-k/ties-distinct"],
    spares: ["L1/top-k/width-33"],
    op: "topK",
    change(answered) {
      const [values, ids] = [answered.floats(0), answered.integers(1)];
      const { k } = rows(answered);
      for (let at = 1; at < ids.length; at++) {
        if (at % k !== 0 && values[at] === values[at - 1]) ids[at] = ids[at - 1] ?? 0;
      }
    },
  },
  {
    name: "ids are swapped between two tokens",
    caughtBy: ["L1/route/own-choices", "L1/top-k/rows-17"],
    spares: ["L1/softmax/widths", "L1/top-k/rows-1"],
    op: "topK",
    change(answered) {
      const { k, count } = rows(answered);
      if (count < 2) return;
      const ids = answered.integers(1);
      const first = ids.slice(0, k);
      ids.copyWithin(0, k, 2 * k);
      ids.set(first, k);
    },
  },
  {
    name: "the last partial tile of rows is dropped",
    caughtBy: ["L1/top-k/rows-2049", "L1/route/tokens-2049", "L1/top-k/rows-around-tiles"],
    spares: ["L1/top-k/rows-17"],
    op: "topK",
    change(answered) {
      const { k, count } = rows(answered);
      if (count > 64) answered.integers(1).fill(0, (count - (count % 64)) * k);
    },
  },
  {
    name: "selection is in f16",
    caughtBy: ["L1/top-k/equal-after-f16", "L1/route/equal-after-f16"],
    spares: ["L1/top-k/width-33", "L1/route/experts-33"],
    op: "topK",
    change(answered) {
      const { k, count } = rows(answered);
      const rounded = answered.inputs(0).map((value) => Math.round(value * 2048) / 2048);
      const ids = answered.integers(1);
      const width = answered.call.inputs[0]?.shape.at(-1) ?? 0;
      for (let row = 0; row < count; row++) {
        const score = (id: number): number => rounded[row * width + id] ?? 0;
        const own = [...ids.subarray(row * k, (row + 1) * k)];
        const sorted = own.toSorted((a, b) => score(b) - score(a) || a - b);
        if (Math.abs(rounded[row * width] ?? 0) >= 0.1) ids.set(sorted, row * k);
      }
    },
  },
  {
    name: "NaN ranks above every number",
    caughtBy: ["L1/top-k/nan-below-all", "L1/route/nan-ranks-below"],
    spares: ["L1/top-k/width-33", "L1/route/experts-33"],
    op: "topK",
    change(answered) {
      const { k, count } = rows(answered);
      const [scores, ids] = [answered.inputs(0), answered.integers(1)];
      const width = answered.call.inputs[0]?.shape.at(-1) ?? 0;
      for (let row = 0; row < count; row++) {
        const at = scores.subarray(row * width, (row + 1) * width).findIndex(Number.isNaN);
        if (at >= 0 && k > 0) ids[row * k] = at;
      }
    },
  },
  {
    name: "NaN bleeds into the next token",
    caughtBy: ["L1/route/nan-no-bleed-softmax", "L1/softmax/nan-row"],
    spares: ["L1/softmax/widths", "L1/route/experts-33"],
    op: "binary",
    change({ call, inputs, floats }) {
      const spec = call.outputs[0];
      if (spec?.dtype !== "f32" || spec.shape.length !== 2) return;
      const width = spec.shape[1] ?? 0;
      const at = inputs(0).findIndex(Number.isNaN);
      if (at >= 0) floats(0).fill(Number.NaN, at, at + 2 * width);
    },
  },
  {
    name: "weights are not renormalised",
    caughtBy: ["L1/route/renormalize-sum", "L1/route/preset-mixtral"],
    spares: ["L1/route/experts-33", "L1/route/preset-olmoe", "L1/softmax/widths"],
    op: "binary",
    change({ call, inputs, floats }) {
      const [tokens, k = 0] = call.outputs[0]?.shape ?? [];
      const divides = call.attributes["kind"] === "div" && call.inputs[1]?.shape.at(-1) === 1;
      if (divides && tokens === 17 && k < 5) floats(0).set(inputs(0));
    },
  },
  {
    name: "equals are sorted backwards",
    caughtBy: ["L1/argsort/stable", "L1/argsort/minus-zero"],
    spares: ["L1/argsort/widths", "L1/argsort/u32"],
    op: "argsort",
    change({ call, inputs, integers }) {
      if (call.inputs[0]?.dtype !== "f32") return;
      const width = call.inputs[0].shape.at(-1) ?? 0;
      const [values, order] = [inputs(0), integers(0)];
      for (let start = 0; start < order.length; start += width) {
        const value = (place: number): number => values[start + (order[start + place] ?? 0)] ?? 0;
        for (let from = 0, to = 1; to <= width; to++) {
          if (to < width && value(to) === value(from)) continue;
          order.subarray(start + from, start + to).reverse();
          from = to;
        }
      }
    },
  },
];

describe("L1", () => {
  it.each(["oracle", "yardstick"] as const)(
    "is passed by the cpu backend, where the %s says what is expected",
    async (expected) => {
      const report = await conform({
        createBackend: create,
        profile: "full",
        catalogue: routingCases,
        expected,
      });
      expect(report.cases.filter(({ status }) => status !== "pass")).toEqual([]);
    },
    120_000,
  );

  it("is passed by a backend that claims less, at another seed", async () => {
    const report = await conform({
      createBackend: async () =>
        claiming({
          accumulation: { dtype: "f32", order: "any" },
          determinism: "none",
          batchInvariant: false,
          tileSizes: [16],
        }),
      profile: "full",
      catalogue: routingCases,
      seed: 7,
    });
    expect(report.cases.filter(({ status }) => status !== "pass")).toEqual([]);
  }, 120_000);

  it.each(FAULTS)(
    "catches a backend in which $name",
    async ({ caughtBy, spares, op, change }) => {
      const failed = await failures(() => planted(op, change), [...caughtBy, ...spares]);
      expect(failed.toSorted()).toEqual([...caughtBy].toSorted());
    },
    60_000,
  );

  it("excuses a backend without topK, by its manifest alone", async () => {
    const { capabilities } = await create();
    const report = await conform({
      createBackend: async () => claiming({ ops: capabilities.ops.filter((op) => op !== "topK") }),
      catalogue: routingCases,
      cases: ["L1/top-k/none", "L1/argsort/widths"],
    });
    expect(report.cases.map(({ status }) => status)).toEqual(["unsupported", "pass"]);
  });
});
