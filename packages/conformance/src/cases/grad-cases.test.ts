import type { CpuBuffer } from "@moiety/backend-cpu";
import type { Capabilities } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ReferenceCache } from "../reference.ts";
import { gradientCases } from "./grad-cases.ts";
import { type Spoil, fused } from "./testing/fused.ts";
import { type Fault, complaints, failuresOf, hold, noting } from "./testing/hold.ts";
import { claiming, planted } from "./testing/planted.ts";

const references: ReferenceCache = new Map();
const accumulation: Capabilities["accumulation"] = { dtype: "f32", order: "any" };

describe("cases of gradients", () => {
  it("pass on the oracle, and name every kernel that they call", async () => {
    const { make, begin, unnamed } = noting();
    const report = await hold(gradientCases, make, {
      onProgress: ({ running }) => running !== undefined && begin(running),
    });
    expect(complaints(report)).toEqual([]);
    expect(report.counts.pass).toBe(gradientCases.length);
    expect(unnamed(gradientCases)).toEqual([]);
  }, 60_000);

  it("pass on a backend that fuses everything", async () => {
    expect(complaints(await hold(gradientCases, () => fused()))).toEqual([]);
  }, 60_000);

  it("can judge a backend that accumulates in float32, with another seed", async () => {
    const report = await hold(gradientCases, () => claiming({ accumulation }), {
      seed: 5,
      expected: "yardstick",
    });
    expect(complaints(report)).toEqual([]);
  }, 60_000);

  it("have different ids, and belong to the extension", () => {
    expect(new Set(gradientCases.map(({ id }) => id)).size).toBe(gradientCases.length);
    for (const { extension } of gradientCases) expect(extension).toBe("grad");
  });
});

/** The oracle with one output of a fused backward set to 0. */
const silent =
  (op: string, output: number): Spoil =>
  (call, outputs) => {
    if (call.op.name !== op) return;
    const handle: CpuBuffer | undefined = outputs[output];
    if (handle) new Uint8Array(handle.block).fill(0);
  };

const FAULTS: readonly Fault[] = [
  {
    name: "no gradient reaches the router through the weights of its choices",
    caughtBy: [
      "L4/grad/layer-router-path",
      "L4/grad/layer-own-routing",
      "L4/grad/inner-product-layer-plain",
    ],
    spares: ["L4/grad/layer-balance-switch", "L4/grad/layer-balance-z", "L3/grad/unused-experts"],
    make: () => fused({ spoil: silent("moeFfnBackward", 1) }),
  },
  {
    name: "balance losses do not reach the router",
    caughtBy: ["L4/grad/layer-balance-switch", "L4/grad/layer-balance-importance"],
    spares: ["L4/grad/layer-router-path", "L4/grad/layer-balance-z"],
    make: () =>
      fused({
        bend: (call) =>
          call.op.name === "routeTopKBackward"
            ? { ...call, inputs: call.inputs.with(2, undefined) }
            : call,
      }),
  },
  {
    name: "a softmax of the chosen lets those that were not chosen move",
    caughtBy: ["L1/grad/route-top-k-softmax-of-chosen", "L4/grad/layer-choice-frozen"],
    spares: ["L1/grad/route-top-k-softmax", "L4/grad/layer-balance-z"],
    make: () =>
      fused({
        spoil: ({ op, attributes }, [logits]) => {
          if (op.name !== "routeTopKBackward" || attributes["weight"] !== "softmaxOfChosen") return;
          const values = new Float32Array(logits?.block ?? new ArrayBuffer(0));
          for (const [at, value] of values.entries()) if (value === 0) values[at] = 1e-3;
        },
      }),
  },
  {
    name: "the gradient of the up projection misses its activation's slope",
    caughtBy: [
      "L3/grad/moe-ffn-silu-alpha",
      "L3/grad/inner-product-experts-gpt-oss",
      "L3/grad/moe-ffn-gpt-oss",
    ],
    spares: ["L3/grad/moe-ffn-identity", "L3/grad/moe-ffn-relu"],
    make: () =>
      fused({
        bend(call) {
          if (call.op.name !== "moeFfnBackward") return call;
          const { alpha: _, ...descriptor } = call.attributes["descriptor"] as { alpha?: number };
          return { ...call, attributes: { ...call.attributes, descriptor } };
        },
      }),
  },
  {
    name: "experts without rows keep what their gradient held before",
    caughtBy: ["L3/grad/unused-experts", "L3/grad/moe-ffn-one-expert"],
    spares: ["L3/grad/moe-ffn-all-experts", "L3/grad/matmul-plain"],
    make: () =>
      planted("groupedMatmulGradWeights", ({ call, floats }) => {
        const offsets = call.inputs[2];
        const groups = (offsets?.shape[0] ?? 1) - 1;
        const ends = new Int32Array(offsets?.handle.block ?? new ArrayBuffer(0), 0, groups + 1);
        const size = floats(0).length / groups;
        for (let group = 0; group < groups; group++) {
          if (ends[group] === ends[group + 1]) floats(0)[group * size] = 1e-20;
        }
      }),
  },
  {
    name: "a row that is gathered twice gets one gradient only",
    caughtBy: ["L2/grad/gather-rows", "L2/grad/gather-rows-crowded", "L3/grad/moe-ffn-silu"],
    spares: ["L0/grad/concat", "L3/grad/matmul-plain"],
    make: () =>
      planted("segmentSum", ({ call, floats, inputs }) => {
        const ids = call.inputs[1]?.handle.block ?? new ArrayBuffer(0);
        const count = call.inputs[1]?.shape[0] ?? 0;
        const list = new Int32Array(ids, 0, count);
        const width = count === 0 ? 0 : inputs(0).length / count;
        for (const [row, id] of list.entries()) {
          if (id < 0 || (id + 1) * width > floats(0).length) continue;
          floats(0).set(inputs(0).subarray(row * width, (row + 1) * width), id * width);
        }
      }),
  },
  {
    name: "values of attention get no gradient from the last query",
    caughtBy: ["L4/grad/attention-causal", "L4/grad/inner-product-attention"],
    spares: ["L4/grad/rms-norm", "L4/grad/cross-entropy"],
    make: () =>
      fused({
        spoil({ op }, outputs) {
          if (op.name !== "attentionBackward") return;
          const values = new Float32Array(outputs[2]?.block ?? new ArrayBuffer(0));
          for (const [at, value] of values.entries()) values[at] = value * 0.98;
        },
      }),
  },
  {
    name: "ignored rows get a gradient",
    caughtBy: ["L4/grad/cross-entropy"],
    spares: ["L4/grad/inner-product-norm-and-loss", "L1/grad/log-sum-exp"],
    make: () =>
      fused({
        spoil({ op, inputs }, [logits]) {
          if (op.name !== "crossEntropyBackward") return;
          const targets = new Int32Array(inputs[1]?.handle.block ?? new ArrayBuffer(0));
          const values = new Float32Array(logits?.block ?? new ArrayBuffer(0));
          const width = inputs[0]?.shape[1] ?? 0;
          for (const [row, target] of targets.entries()) if (target < 0) values[row * width] = 0.1;
        },
      }),
  },
  {
    name: "every equal element of a maximum gets the gradient",
    caughtBy: ["L0/grad/reduce-max"],
    spares: ["L0/grad/reduce-sum", "L0/grad/binary-max"],
    make: () =>
      planted("cumsum", ({ call, integers }) => {
        if (call.attributes["exclusive"] === true) integers(0).fill(0);
      }),
  },
];

describe("faults of gradients", () => {
  it.each(FAULTS)("$name", async (fault) => {
    const found = await failuresOf(gradientCases, fault, references);
    expect(found.sort()).toEqual([...fault.caughtBy].sort());
  });
});
