import type { CpuBuffer } from "@moiety/backend-cpu";
import type { RunCall } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ReferenceCache } from "../reference.ts";
import { expertCases } from "./l3-cases.ts";
import { type FusedFault, fused } from "./testing/fused.ts";
import { type Fault, complaints, failuresOf, hold, noting, withStatus } from "./testing/hold.ts";
import { planted } from "./testing/planted.ts";

const references: ReferenceCache = new Map();

describe("cases of level 3", () => {
  it("pass on the oracle, and name every kernel that they call", async () => {
    const { make, begin, unnamed } = noting({ tileSizes: [4, 16, 1024] });
    const report = await hold(expertCases, make, {
      onProgress: ({ running }) => running !== undefined && begin(running),
    });
    expect(complaints(report)).toEqual([]);
    expect(withStatus(report, "unsupported")).toEqual([]);
    expect(unnamed(expertCases)).toEqual([]);
  }, 60_000);

  it("pass where the oracle itself is held to the yardstick", async () => {
    const cases = ["L3/matmul/size", "L3/grouped-matmul/", "L3/moe-ffn/bank", "L3/activation/"];
    const report = await hold(expertCases, () => fused(), { cases, expected: "yardstick" });
    expect(complaints(report)).toEqual([]);
  }, 60_000);

  it("have different ids", () => {
    expect(new Set(expertCases.map(({ id }) => id)).size).toBe(expertCases.length);
  });
});

/** A fault of the fused expert path. */
const ffnFault = (
  name: string,
  caughtBy: readonly string[],
  spares: readonly string[],
  fault: FusedFault,
): Fault => ({ name, caughtBy, spares, make: () => fused(fault) });

/** The call with another descriptor. */
function described(
  call: RunCall<CpuBuffer>,
  change: (descriptor: Record<string, unknown>) => Record<string, unknown>,
): RunCall<CpuBuffer> {
  if (!call.op.name.startsWith("moeFfn")) return call;
  const descriptor = change(call.attributes["descriptor"] as Record<string, unknown>);
  return { ...call, attributes: { ...call.attributes, descriptor: descriptor as never } };
}

const floats = (handle: CpuBuffer | undefined): Float32Array =>
  new Float32Array(handle?.block ?? new ArrayBuffer(0), 0, (handle?.byteLength ?? 0) / 4);

const descriptorFault = (
  key: string,
  bank: string,
  change: (descriptor: Record<string, unknown>) => Record<string, unknown>,
): Fault =>
  ffnFault(
    `the descriptor's ${key} is not read`,
    [`L3/moe-ffn/bank-${bank}`],
    ["L3/moe-ffn/bank-silu", "L3/moe-ffn/bank-gelu", "L3/moe-ffn/exact"],
    { bend: (call) => described(call, change) },
  );

const FAULTS: readonly Fault[] = [
  {
    name: "the last partial tile of rows is dropped",
    caughtBy: ["L3/matmul/size-33", "L3/matmul/size-65", "L3/matmul/size-127"],
    spares: ["L3/matmul/size-32", "L3/matmul/size-64", "L3/matmul/batches"],
    make: () =>
      planted("matmul", ({ call, floats: output }) => {
        const [rows = 0, columns = 0] = call.outputs[0]?.shape.slice(-2) ?? [];
        if (rows > 32) output(0).fill(0, (rows - (rows % 32)) * columns);
      }),
  },
  {
    name: "the last element of a long sum is forgotten",
    caughtBy: ["L3/matmul/exact", "L3/matmul/all-positive", "L3/matmul/size-65"],
    spares: ["L3/matmul/empty", "L3/matmul/many-rows"],
    make: () =>
      planted("matmul", ({ call, inputs, floats: output }) => {
        const [a, b] = call.inputs;
        if (a?.shape.length !== 2 || b?.shape.length !== 2) return;
        const { transposeA, transposeB } = call.attributes;
        const [rows = 0, inner = 0] = a.shape;
        const columns = b.shape[1] ?? 0;
        if (transposeA || transposeB || inner < 16) return;
        const [x, y] = [inputs(0), inputs(1)];
        for (let at = 0; at < rows * columns; at++) {
          const left = x[Math.floor(at / columns) * inner + inner - 1] ?? 0;
          const last = left * (y[(inner - 1) * columns + (at % columns)] ?? 0);
          output(0)[at] = (output(0)[at] ?? 0) - last;
        }
      }),
  },
  {
    name: "sums are rounded to half floats",
    caughtBy: ["L3/matmul/all-positive", "L3/matmul/plain", "L3/matmul/exact"],
    spares: ["L3/matmul/empty", "L3/grouped-matmul/all-positive"],
    make: () =>
      planted("matmul", ({ floats: output }) => {
        const values = output(0);
        for (const [at, value] of values.entries()) {
          const step = 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10);
          values[at] = Math.round(value / step) * step;
        }
      }),
  },
  {
    name: "two rows of a grouped product are swapped",
    caughtBy: [
      "L3/grouped-matmul/exact",
      "L3/grouped-matmul/own-matrix",
      "L3/grouped-matmul/plain",
    ],
    spares: ["L3/matmul/exact", "L3/grouped-matmul/no-rows", "L3/activation/silu"],
    make: () =>
      planted("groupedMatmul", ({ call, floats: output }) => {
        const [rows = 0, width = 0] = call.outputs[0]?.shape ?? [];
        if (rows < 2) return;
        const first = output(0).slice(0, width);
        output(0).copyWithin(0, width, 2 * width);
        output(0).set(first, width);
      }),
  },
  {
    name: "grouped sums are a unit in the last place too large",
    caughtBy: ["L3/grouped-matmul/exact", "L3/moe-ffn/exact"],
    spares: ["L3/matmul/exact", "L3/grouped-matmul/empty-window"],
    make: () =>
      planted("groupedMatmul", ({ floats: output }) => {
        for (const [at, value] of output(0).entries()) output(0)[at] = value * (1 + 2 ** -22);
      }),
  },
  {
    name: "rows outside the window hold what was there",
    caughtBy: ["L3/grouped-matmul/window", "L3/grouped-matmul/empty-window"],
    spares: ["L3/grouped-matmul/plain", "L3/moe-ffn/exact"],
    make: () =>
      planted("groupedMatmul", ({ call, floats: output }) => {
        const [rows = 0, width = 0] = call.outputs[0]?.shape ?? [];
        const offsets = call.inputs[2];
        const groups = (offsets?.shape[0] ?? 1) - 1;
        const ends = new Int32Array(offsets?.handle.block ?? new ArrayBuffer(0), 0, groups + 1);
        output(0).fill(5, (ends[groups] ?? rows) * width);
      }),
  },
  {
    name: "an empty group of the gradient keeps what was there",
    caughtBy: ["L3/grouped-matmul-gradient/empty-groups", "L3/grouped-matmul-gradient/no-rows"],
    spares: ["L3/grouped-matmul-gradient/plain", "L3/grouped-matmul-gradient/one-full-group"],
    make: () =>
      planted("groupedMatmulGradWeights", ({ call, floats: output }) => {
        const offsets = call.inputs[2];
        const groups = (offsets?.shape[0] ?? 1) - 1;
        const ends = new Int32Array(offsets?.handle.block ?? new ArrayBuffer(0), 0, groups + 1);
        const size = output(0).length / groups;
        const empty = Array.from({ length: groups }, (_, group) => ends[group] === ends[group + 1]);
        if (groups > 3 || groups === 2)
          for (const [group, is] of empty.entries()) {
            if (is) output(0).fill(7, group * size, (group + 1) * size);
          }
      }),
  },
  {
    name: "NaN bleeds to the row beside",
    caughtBy: ["L3/grouped-matmul/nan-row", "L3/moe-ffn/nan-token", "L3/moe-ffn/nan-token-tile"],
    spares: ["L3/grouped-matmul/exact", "L3/matmul/nan-row"],
    make: () =>
      planted("groupedMatmul", ({ call, floats: output }) => {
        const [rows = 0, width = 0] = call.outputs[0]?.shape ?? [];
        const poisoned = Array.from({ length: rows }, (_, row) =>
          Number.isNaN(output(0)[row * width]),
        );
        for (const [row, is] of poisoned.entries()) {
          if (is && row + 1 < rows) output(0).fill(NaN, (row + 1) * width, (row + 2) * width);
        }
      }),
  },
  {
    name: "codes are taken as signed without their offset",
    caughtBy: ["L3/dequantize/all-codes", "L3/dequantize/experts"],
    spares: ["L3/moe-ffn/exact"],
    make: () =>
      planted("dequantize", ({ floats: output }) => {
        output(0)[0] = (output(0)[0] ?? 0) + 128;
      }),
  },
  {
    name: "what is not donated is written to all the same",
    caughtBy: ["L3/aliasing/inputs-stay", "L3/aliasing/donated-view"],
    spares: ["L3/aliasing/views", "L3/aliasing/donated-chain"],
    make: () =>
      planted("writeSlice", ({ inputs, floats: output }) => {
        inputs(0).set(output(0));
      }),
  },
  descriptorFault("alpha", "silu-alpha", ({ alpha: _, ...rest }) => rest),
  descriptorFault("upOffset", "up-offset", ({ upOffset: _, ...rest }) => rest),
  descriptorFault("clamp", "clamp-before", ({ clamp: _, ...rest }) => rest),
  descriptorFault("clamp.when", "clamp-after", (descriptor) =>
    descriptor["clamp"]
      ? { ...descriptor, clamp: { ...(descriptor["clamp"] as object), when: "before" } }
      : descriptor,
  ),
  descriptorFault("gate.first", "gated-concatenated-up-first", (descriptor) =>
    descriptor["gate"]
      ? { ...descriptor, gate: { ...(descriptor["gate"] as object), first: "gate" } }
      : descriptor,
  ),
  descriptorFault("gate.packing", "gated-interleaved-gate-first", (descriptor) =>
    descriptor["gate"]
      ? { ...descriptor, gate: { ...(descriptor["gate"] as object), packing: "concatenated" } }
      : descriptor,
  ),
  ffnFault(
    "the tokens of a last partial tile are dropped",
    ["L3/moe-ffn/tokens-130", "L3/moe-ffn/exact", "L3/moe-ffn/many-choices"],
    ["L3/moe-ffn/tokens-9", "L3/moe-ffn/bank-gpt-oss"],
    {
      spoil({ op, outputs }, [output]) {
        const [tokens = 0, width = 0] = outputs[0]?.shape ?? [];
        if (op.name !== "moeFfn" || tokens < 32) return;
        floats(output).fill(0, (tokens - (tokens % 32)) * width);
      },
    },
  ),
  ffnFault(
    "factors of inputs are not applied",
    ["L3/moe-ffn/bank-input-weights", "L3/moe-ffn/bank-input-weights-biases"],
    ["L3/moe-ffn/bank-silu", "L3/moe-ffn/bank-gpt-oss"],
    {
      bend: (call) =>
        call.op.name === "moeFfn" ? { ...call, inputs: call.inputs.with(7, undefined) } : call,
    },
  ),
  ffnFault(
    "a bias is left out",
    ["L3/moe-ffn/bank-up-bias", "L3/moe-ffn/bank-gpt-oss"],
    ["L3/moe-ffn/bank-silu", "L3/moe-ffn/bank-down-bias"],
    {
      bend: (call) =>
        call.op.name === "moeFfn" ? { ...call, inputs: call.inputs.with(5, undefined) } : call,
    },
  ),
];

describe("faults of experts", () => {
  it.each(FAULTS)("$name", async (fault) => {
    expect((await failuresOf(expertCases, fault, references)).sort()).toEqual(
      [...fault.caughtBy].sort(),
    );
  });
});
