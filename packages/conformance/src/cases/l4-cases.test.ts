import type { CpuBuffer } from "@moiety/backend-cpu";
import type { Attributes, RunCall } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ReferenceCache } from "../reference.ts";
import { wholeCases } from "./l4-cases.ts";
import { type FusedFault, fused } from "./testing/fused.ts";
import { type Fault, complaints, failuresOf, hold, noting, withStatus } from "./testing/hold.ts";
import { planted } from "./testing/planted.ts";

const references: ReferenceCache = new Map();

describe("cases of level 4", () => {
  it("pass on the oracle, and name every kernel that they call", async () => {
    const { make, begin, unnamed } = noting();
    const report = await hold(wholeCases, make, {
      onProgress: ({ running }) => running !== undefined && begin(running),
    });
    expect(complaints(report)).toEqual([]);
    expect(withStatus(report, "unsupported")).toEqual([]);
    expect(unnamed(wholeCases)).toEqual([]);
    const ambiguous = report.cases.map(({ ambiguousTokens }) => ambiguousTokens ?? 0);
    expect(Math.max(...ambiguous)).toBeLessThanOrEqual(1);
  }, 60_000);

  it("pass on a backend that fuses everything, with another seed", async () => {
    const report = await hold(wholeCases, () => fused(), { seed: 77 });
    expect(complaints(report)).toEqual([]);
  }, 60_000);

  it("have different ids", () => {
    expect(new Set(wholeCases.map(({ id }) => id)).size).toBe(wholeCases.length);
  });
});

/** A fault of one fused op. */
const fault = (
  name: string,
  caughtBy: readonly string[],
  spares: readonly string[],
  how: FusedFault,
): Fault => ({ name, caughtBy, spares, make: () => fused(how) });

/** Asks one op with other attributes. */
const asking =
  (op: string, change: (attributes: Attributes) => Attributes) =>
  (call: RunCall<CpuBuffer>): RunCall<CpuBuffer> =>
    call.op.name === op ? { ...call, attributes: change(call.attributes) } : call;

const words = (handle: CpuBuffer | undefined): Int32Array =>
  new Int32Array(handle?.block ?? new ArrayBuffer(0), 0, (handle?.byteLength ?? 0) / 4);

const FAULTS: readonly Fault[] = [
  fault(
    "a query does not see its own key",
    ["L4/attention/causal", "L4/attention/position", "L4/attention/decode"],
    ["L4/attention/all-keys"],
    {
      bend: asking("attention", (attributes) => ({
        ...attributes,
        position: Math.max(0, (attributes["position"] as number) - 1),
        scale: attributes["causal"] === true ? 0.9 : (attributes["scale"] as number),
      })),
    },
  ),
  fault(
    "a query sees one key behind itself",
    ["L4/attention/position"],
    ["L4/attention/all-keys", "L4/attention/causal"],
    {
      bend: (call) => {
        if (call.op.name !== "attention") return call;
        const { position, causal } = call.attributes as { position: number; causal: boolean };
        const [queries = 0, keys = 0] = [call.inputs[0]?.shape[1], call.inputs[1]?.shape[1]];
        const late = Math.min(position + 1, keys - queries);
        return causal ? { ...call, attributes: { ...call.attributes, position: late } } : call;
      },
    },
  ),
  fault(
    "the mask of keys is not read",
    ["L4/attention/mask", "L4/attention/nothing-seen"],
    ["L4/attention/causal", "L4/attention/unused-cache"],
    {
      bend: (call) =>
        call.op.name === "attention" ? { ...call, inputs: call.inputs.slice(0, 3) } : call,
    },
  ),
  fault(
    "epsilon is not added",
    ["L4/rms-norm/epsilon"],
    ["L4/rms-norm/zero-row", "L4/rms-norm/large"],
    { bend: asking("rmsNorm", (attributes) => ({ ...attributes, epsilon: 1e-8 })) },
  ),
  fault(
    "the inverse turn goes forward",
    ["L4/rope/back", "L4/rope/halves"],
    ["L4/rope/partial", "L4/rope/far-position"],
    { bend: asking("rope", (attributes) => ({ ...attributes, inverse: false })) },
  ),
  fault(
    "an ignored target costs something",
    ["L4/cross-entropy/ignored"],
    ["L4/cross-entropy/classes-33", "L4/cross-entropy/large"],
    {
      spoil({ op, inputs }, [loss]) {
        if (op.name !== "crossEntropy") return;
        const targets = words(inputs[1]?.handle);
        const values = new Float32Array(loss?.block ?? new ArrayBuffer(0), 0, targets.length);
        for (const [row, target] of targets.entries()) if (target < 0) values[row] = 1;
      },
    },
  ),
  fault(
    "weight decay is left out",
    ["L4/adam-w/usual", "L4/adam-w/decay"],
    ["L4/adam-w/no-decay"],
    { bend: asking("adamW", (attributes) => ({ ...attributes, weightDecay: 0 })) },
  ),
  fault(
    "the step does not correct the moments",
    ["L4/adam-w/usual", "L4/adam-w/ten-steps"],
    ["L4/rms-norm/width-64"],
    { bend: asking("adamW", (attributes) => ({ ...attributes, step: 1_000_000 })) },
  ),
  fault(
    "the optimizer writes to parameters that it was not given",
    ["L4/adam-w/inputs-stay"],
    ["L4/adam-w/usual"],
    {
      spoil({ op, inputs }, [parameter]) {
        const target = inputs[0];
        if (op.name !== "adamW" || !target || target.donated) return;
        words(target.handle).set(words(parameter));
      },
    },
  ),
  fault(
    "choices of two tokens are swapped",
    ["L4/layer/own-routing", "L4/layer/wide", "L4/layer/tokens-8"],
    ["L4/layer/tokens-1", "L4/layer/in-flight", "L4/layer/decoder"],
    {
      spoil({ op, outputs }, handles) {
        const [tokens = 0, k = 0] = outputs[1]?.shape ?? [];
        if (op.name !== "routeTopK" || tokens < 3) return;
        const ids = words(handles[1]);
        const first = ids.slice(0, k);
        for (let token = 1; token < tokens; token++) {
          if (ids.slice(token * k, token * k + k).join() === first.join()) continue;
          ids.copyWithin(0, token * k, token * k + k);
          ids.set(first, token * k);
          return;
        }
      },
    },
  ),
  fault(
    "weights of choices are not renormalised",
    ["L4/layer/own-routing", "L4/layer/shared-add", "L4/layer/many-experts"],
    ["L4/layer/dense", "L4/layer/gpt-oss"],
    {
      bend: asking("routeTopK", ({ renormalize: _, ...rest }) => rest),
    },
  ),
  {
    name: "NaN of one token reaches the token beside it",
    caughtBy: ["L4/layer/nan-token"],
    spares: ["L4/layer/own-routing", "L4/rms-norm/nan-token"],
    make: () =>
      planted("groupedMatmul", ({ call, floats }) => {
        const [rows = 0, width = 0] = call.outputs[0]?.shape ?? [];
        const row = Array.from({ length: rows }, (_, at) => at).find((at) =>
          Number.isNaN(floats(0)[at * width]),
        );
        if (row === undefined) return;
        floats(0).fill(Number.NaN, 0, rows * width);
      }),
  },
  {
    name: "counts of a load leave out the last expert",
    caughtBy: ["L4/balance-loss/values", "L4/balance-loss/padding", "L4/layer/padding"],
    spares: ["L4/balance-loss/collapse", "L4/rms-norm/epsilon"],
    make: () =>
      planted("groupRows", ({ integers }) => {
        const offsets = integers(2);
        const last = offsets.length - 1;
        const end = offsets[last] ?? 0;
        if (end !== offsets[last - 1] && last < 10) offsets[last] = end - 1;
      }),
  },
];

describe("faults of models and layers", () => {
  it.each(FAULTS)("$name", async (one) => {
    const found = await failuresOf(wholeCases, one, references);
    expect(found.sort()).toEqual([...one.caughtBy].sort());
  });
});
