import { create } from "@moiety/backend-cpu";
import type { Backend } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { conform } from "../conform.ts";
import type { ReferenceCache } from "../reference.ts";
import { permuteCases } from "./l2-cases.ts";
import { type Answered, claiming, planted } from "./testing/planted.ts";

const references: ReferenceCache = new Map();

/** Ids of the cases that a backend fails, of those asked for; a kit's error is none. */
async function failures(make: () => Backend, cases: readonly string[]): Promise<string[]> {
  const report = await conform({
    createBackend: async () => make(),
    profile: "full",
    catalogue: permuteCases,
    cases,
    references,
  });
  expect(report.counts.error).toBe(0);
  return report.cases.filter(({ status }) => status === "fail").map(({ id }) => id);
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
    name: "groups are sorted unstably",
    caughtBy: ["L2/group-rows/stable", "L2/plan/choices"],
    spares: ["L2/combine/identity-experts", "L2/load/counts", "L2/count-ids/counts"],
    op: "groupRows",
    change({ integers }) {
      const [order, inverse, offsets] = [integers(0), integers(1), integers(2)];
      for (let group = 0; group + 1 < offsets.length; group++) {
        order.subarray(offsets[group], offsets[group + 1]).reverse();
      }
      for (const [row, assignment] of order.entries()) {
        if (assignment < inverse.length) inverse[assignment] = row;
      }
    },
  },
  {
    name: "every offset is one too far",
    caughtBy: ["L2/plan/choices", "L2/load/sum", "L2/count-ids/counts"],
    spares: ["L2/combine/identity-experts", "L2/gather-rows/f32"],
    op: "groupRows",
    change({ integers }) {
      const offsets = integers(2);
      for (let group = 1; group < offsets.length; group++)
        offsets[group] = (offsets[group] ?? 0) + 1;
    },
  },
  {
    name: "an id outside the groups counts to the last",
    caughtBy: ["L2/group-rows/out-of-range", "L2/combine/dead-rows"],
    spares: ["L2/group-rows/groups-7", "L2/combine/identity-experts"],
    op: "groupRows",
    change({ integers }) {
      const inverse = integers(1);
      for (const [assignment, row] of inverse.entries()) {
        if (row === inverse.length) inverse[assignment] = row - 1;
      }
    },
  },
  {
    name: "rows beyond 65535 are not gathered",
    caughtBy: ["L2/gather-rows/many-ids", "L2/dispatch/many", "L2/combine/identity-many"],
    spares: ["L2/gather-rows/f32", "L2/dispatch/rows"],
    op: "gatherRows",
    change({ call, integers }) {
      const [rows = 0] = call.outputs[0]?.shape ?? [];
      if (rows > 65_535) integers(0).fill(0, (integers(0).length / rows) * 65_535);
    },
  },
  {
    name: "two rows are swapped",
    caughtBy: ["L2/gather-rows/there-and-back", "L2/dispatch/there-and-back", "L2/combine/width-4"],
    spares: ["L2/group-rows/groups-7", "L2/load/counts"],
    op: "gatherRows",
    change({ call, integers }) {
      const rows = call.inputs[1]?.shape[0] ?? 0;
      const width = integers(0).length / rows;
      if (rows < 9 || call.outputs[0]?.dtype !== "f32") return;
      const first = integers(0).slice(0, width);
      integers(0).copyWithin(0, width, 2 * width);
      integers(0).set(first, width);
    },
  },
  {
    name: "an id outside the table takes its last row",
    caughtBy: ["L2/gather-rows/out-of-range", "L2/dispatch/rows"],
    spares: ["L2/gather-rows/f32", "L2/combine/identity-experts"],
    op: "gatherRows",
    change({ call, inputs, integers }) {
      const [table, ids] = [call.inputs[0], call.inputs[1]];
      const rows = table?.shape[0] ?? 0;
      if (table === undefined || ids === undefined || rows === 0) return;
      const width = inputs(0).length / rows;
      const last = new Int32Array(table.handle.block, 4 * (rows - 1) * width, width);
      for (const [row, id] of new Int32Array(inputs(1).buffer, 0, inputs(1).length).entries()) {
        if (id < 0 || id >= rows) integers(0).set(last, row * width);
      }
    },
  },
  {
    name: "an index outside the axis is not skipped",
    caughtBy: ["L2/put-along/out-of-range"],
    spares: ["L2/put-along/axis-1", "L2/put-along/donated"],
    op: "putAlong",
    change({ call, inputs, floats }) {
      const width = call.outputs[0]?.shape.at(-1) ?? 0;
      const ids = new Int32Array(inputs(1).buffer, 0, inputs(1).length);
      if (ids.some((id) => id < 0 || id >= width)) floats(0)[0] = inputs(2)[0] ?? 0;
    },
  },
  {
    name: "the rows of the last segment are lost",
    caughtBy: ["L2/segment-sum/exact", "L2/segment-sum/each-its-own"],
    spares: ["L2/segment-sum/one-huge", "L2/combine/identity-experts"],
    op: "segmentSum",
    change({ call, floats }) {
      const [segments = 0] = call.outputs[0]?.shape ?? [];
      floats(0).fill(0, (floats(0).length / Math.max(1, segments)) * (segments - 1));
    },
  },
  {
    name: "equal weights are served from behind",
    caughtBy: ["L2/capacity/ties", "L2/capacity/prioritized-ties"],
    spares: ["L2/capacity/order-position", "L2/capacity/met-position"],
    op: "argsort",
    change({ call, inputs, integers }) {
      if (call.inputs[0]?.dtype !== "f32") return;
      const [values, order] = [inputs(0), integers(0)];
      for (let from = 0, to = 1; to <= order.length; to++) {
        if (to < order.length && values[order[to] ?? 0] === values[order[from] ?? 0]) continue;
        order.subarray(from, to).reverse();
        from = to;
      }
    },
  },
  {
    name: "NaN reaches the next token",
    caughtBy: ["L2/combine/nan-no-bleed"],
    spares: ["L2/combine/width-4", "L2/combine/identity-experts"],
    op: "reduce",
    change({ call, floats }) {
      const width = call.outputs[0]?.shape.at(-1) ?? 0;
      const at = floats(0).findLastIndex(Number.isNaN);
      if (at >= 0) floats(0).fill(Number.NaN, at, at + width);
    },
  },
  {
    name: "sums are kept in twelve bits",
    caughtBy: ["L2/combine/weights-of-choices"],
    spares: ["L2/dispatch/rows", "L2/group-rows/stable"],
    op: "reduce",
    change({ call, floats }) {
      if (call.inputs[0]?.shape.length !== 3) return;
      for (const [index, value] of floats(0).entries()) floats(0)[index] = value * (1 + 2 ** -12);
    },
  },
];

describe("L2", () => {
  it.each(["oracle", "yardstick"] as const)(
    "is passed by the cpu backend, where the %s says what is expected",
    async (expected) => {
      const report = await conform({
        createBackend: create,
        profile: "full",
        catalogue: permuteCases,
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
          dtypes: ["f32", "i32", "u32", "bool"],
          formats: [],
          accumulation: { dtype: "f32", order: "any" },
          determinism: "none",
          batchInvariant: false,
          tileSizes: [16],
        }),
      profile: "full",
      catalogue: permuteCases,
      seed: 7,
    });
    const others = report.cases.filter(({ status }) => status !== "pass");
    expect(others.filter(({ status }) => status !== "unsupported")).toEqual([]);
    expect(others.map(({ id }) => id)).toEqual([
      ...["gather-rows", "take-along", "put-along"].flatMap((op) =>
        ["f16", "bf16", "u8"].map((dtype) => `L2/${op}/${dtype}`),
      ),
      "L2/combine/choice-order",
    ]);
  }, 120_000);

  it.each(FAULTS)(
    "catches a backend in which $name",
    async ({ caughtBy, spares, op, change }) => {
      const failed = await failures(() => planted(op, change), [...caughtBy, ...spares]);
      expect(failed.toSorted()).toEqual([...caughtBy].toSorted());
    },
    60_000,
  );
});
