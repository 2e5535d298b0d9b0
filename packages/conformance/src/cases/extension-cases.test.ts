import { type Backend, OutOfMemoryError } from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { describe, expect, it } from "vitest";
import type { ReferenceCache } from "../reference.ts";
import { spoiled } from "../testing/spoiled.ts";
import { extensionCases } from "./extension-cases.ts";
import { type FusedFault, type Spoil, fused } from "./testing/fused.ts";
import { type Fault, complaints, failuresOf, hold, noting, withStatus } from "./testing/hold.ts";
import { type LosableFault, losable } from "./testing/losable.ts";
import { claiming, planted } from "./testing/planted.ts";

const references: ReferenceCache = new Map();
const SMALL = { limits: { bindingBytes: 4096 } };

type SpoiledInputs = Parameters<Spoil>[0]["inputs"];

const only = (extension: string) => ({
  catalogue: extensionCases.filter((one) => one.extension === extension),
});

describe("cases of extensions", () => {
  it("pass on the oracle where it claims them, and name every kernel that they call", async () => {
    const { make, begin, unnamed } = noting(SMALL);
    const report = await hold(extensionCases, make, {
      onProgress: ({ running }) => running !== undefined && begin(running),
    });
    expect(complaints(report)).toEqual([]);
    expect(unnamed(extensionCases)).toEqual([]);
    const excused = report.cases.filter(({ status }) => status === "unsupported");
    expect(new Set(excused.map(({ extension }) => extension))).toEqual(
      new Set(["fused", "device-loss"]),
    );
  }, 120_000);

  it("pass on a backend that fuses everything", async () => {
    for (const extension of ["fused", "f16", "batch-invariant"]) {
      const { catalogue } = only(extension);
      const report = await hold(catalogue, () => fused());
      expect(complaints(report)).toEqual([]);
      expect(report.counts.pass).toBe(catalogue.length);
    }
  }, 60_000);

  it("pass on a backend that loses its device and recovers", async () => {
    const kind = losable();
    const { catalogue } = only("device-loss");
    const report = await hold(catalogue, kind.create, { loseDevice: kind.lose });
    expect(complaints(report)).toEqual([]);
    expect(report.counts.pass).toBe(catalogue.length);
  }, 60_000);

  it("have a case for every op that may be fused", () => {
    const named = new Set(only("fused").catalogue.map(({ id }) => id.split("/")[2]?.split("-")[0]));
    const optional = allOps.filter(({ identity }) => identity.kernel === "optional");
    expect(named).toEqual(new Set(optional.map(({ name }) => name)));
  });

  it("are unsupported where the manifest does not claim them, with the reason", async () => {
    const plain = {
      formats: [],
      determinism: "run",
      batchInvariant: false,
      dtypes: ["f32", "i32", "u32", "bool"],
      limits: {},
    } as const;
    const report = await hold(extensionCases, () => claiming(plain));
    expect(withStatus(report, "unsupported")).toHaveLength(extensionCases.length);
    const reasons = new Set(report.cases.map(({ reason }) => reason));
    expect([...reasons].sort()).toEqual(
      expect.arrayContaining([
        "the manifest has no f16",
        "the manifest has no fused kernel of softmax",
        "the manifest is not batchInvariant",
        'the manifest\'s determinism is "run"',
      ]),
    );
  });

  it("try one large tensor alone where segments are large", async () => {
    const claim = { limits: { bindingBytes: 2 ** 21 } };
    const { catalogue } = only("segmented");
    const report = await hold(catalogue, () => claiming(claim));
    expect(complaints(report)).toEqual([]);
    expect(withStatus(report, "pass")).toEqual(["L2/segmented/large"]);
    const huge = await hold(catalogue, () => claiming({ limits: { bindingBytes: 2 ** 30 } }));
    expect(withStatus(huge, "unsupported")).toHaveLength(catalogue.length);
  }, 60_000);

  it("have different ids", () => {
    expect(new Set(extensionCases.map(({ id }) => id)).size).toBe(extensionCases.length);
  });
});

const fusedFault = (
  name: string,
  caughtBy: readonly string[],
  spares: readonly string[],
  fault: FusedFault,
): Fault => ({ name, caughtBy, spares, make: () => fused(fault) });

/** A fused layer that gives zeros at the ends of its rows for some inputs. */
const zeroRowEnds = (isMeant: (inputs: SpoiledInputs) => boolean): Backend =>
  fused({
    spoil({ op, inputs, outputs }, [output]) {
      if (op.name !== "moeFfn" || !isMeant(inputs)) return;
      const width = outputs[0]?.shape[1] ?? 1;
      const values = new Float32Array(output?.block ?? new ArrayBuffer(0));
      for (let at = width - 1; at < values.length; at += width) values[at] = 0;
    },
  });

const lossFault = (
  name: string,
  caughtBy: readonly string[],
  spares: readonly string[],
  fault: LosableFault,
): Fault => {
  const kind = losable(fault);
  return { name, caughtBy, spares, make: kind.create, options: { loseDevice: kind.lose } };
};

const FAULTS: readonly Fault[] = [
  fusedFault(
    "the fused softmax is off by a thousandth",
    ["L1/fused/softmax", "L1/fused/softmax-masked"],
    ["L1/fused/logSumExp", "L4/fused/rmsNorm"],
    {
      spoil({ op }, [output]) {
        if (op.name !== "softmax") return;
        const values = new Float32Array(output?.block ?? new ArrayBuffer(0));
        for (const [at, value] of values.entries()) values[at] = value * 1.001;
      },
    },
  ),
  fusedFault(
    "a fused backward does not read its residual right",
    ["L3/fused/moeFfnBackward-up-bias", "L3/fused/moeFfnBackward-gpt-oss"],
    ["L3/fused/moeFfnBackward-silu", "L3/fused/moeFfn-gpt-oss"],
    {
      bend: (call) =>
        call.op.name === "moeFfnBackward"
          ? { ...call, inputs: call.inputs.with(7, undefined) }
          : call,
    },
  ),
  fusedFault(
    "groups of experts are not read",
    ["L1/fused/routeTopK-groups"],
    ["L1/fused/routeTopK-softmax", "L1/fused/routeTopK-sigmoid"],
    {
      bend: (call) => {
        const { groups: _, ...attributes } = call.attributes;
        return call.op.name === "routeTopK" ? { ...call, attributes } : call;
      },
    },
  ),
  {
    name: "each product has other last bits",
    caughtBy: ["L3/deterministic/products", "L4/deterministic/layer"],
    spares: ["L1/deterministic/choices", "L0/deterministic/sums"],
    make() {
      let calls = 0;
      return planted("matmul", ({ floats }) => {
        calls++;
        for (const [at, value] of floats(0).entries()) {
          floats(0)[at] = calls % 3 === 0 ? value * (1 + 2 ** -23) : value;
        }
      });
    },
  },
  {
    name: "a fresh backend has other bits",
    caughtBy: ["L4/deterministic/fresh-backend"],
    spares: ["L3/deterministic/experts", "L3/deterministic/products"],
    make: (() => {
      let made = 0;
      return () => {
        const nudge = 2 ** -22 * made++;
        return planted("groupedMatmul", ({ floats }) => {
          for (const [at, value] of floats(0).entries()) floats(0)[at] = value * (1 + nudge);
        });
      };
    })(),
  },
  {
    name: "large batches add in another order",
    caughtBy: ["L3/batch-invariant/products", "L4/batch-invariant/block"],
    spares: ["L1/batch-invariant/softmax", "L4/batch-invariant/loss"],
    make: () =>
      planted("matmul", ({ call, floats }) => {
        const [rows = 0] = call.outputs[0]?.shape.slice(-2) ?? [];
        if (rows < 9 || call.outputs[0]?.shape.length !== 2) return;
        for (const [at, value] of floats(0).entries()) floats(0)[at] = value * (1 + 2 ** -23);
      }),
  },
  {
    name: "a decoded query sees other bits than in prefill",
    caughtBy: ["L4/batch-invariant/attention", "L4/batch-invariant/block"],
    spares: ["L4/batch-invariant/norm", "L3/batch-invariant/experts-gated"],
    make: () =>
      fused({
        spoil({ op, inputs }, [output]) {
          if (op.name !== "attention" || inputs[0]?.shape[1] !== 1) return;
          const values = new Float32Array(output?.block ?? new ArrayBuffer(0));
          for (const [at, value] of values.entries()) values[at] = value * (1 + 2 ** -23);
        },
      }),
  },
  {
    name: "half floats beyond 2¹⁵ are taken for infinite",
    caughtBy: ["L0/f16/round-trip", "L0/f16/widen"],
    spares: ["L3/f16/experts-silu", "L2/f16/rows"],
    make: () =>
      planted("cast", ({ call, floats }) => {
        if (call.inputs[0]?.dtype !== "f16" || call.outputs[0]?.dtype !== "f32") return;
        for (const [at, value] of floats(0).entries()) {
          if (Math.abs(value) >= 2 ** 15) floats(0)[at] = Math.sign(value) * Infinity;
        }
      }),
  },
  {
    name: "a fused kernel takes half floats for zeros at the end of a row",
    caughtBy: ["L3/f16/experts-width-33", "L3/f16/experts-silu"],
    spares: ["L0/f16/round-trip", "L3/f16/experts-tokens-0"],
    make: () => zeroRowEnds((inputs) => inputs[3]?.dtype === "f16"),
  },
  {
    name: "a fused kernel takes codes for zeros at the end of a row",
    caughtBy: ["L3/quantised/q4_block32-silu", "L3/quantised/q4_block32-as-numbers"],
    spares: ["L3/f16/experts-silu", "L3/quantised/q4_block32-tokens-0"],
    make: () => zeroRowEnds((inputs) => inputs[8] !== undefined),
  },
  {
    name: "rows in the second segment are not found",
    caughtBy: ["L2/segmented/gather-rows", "L2/segmented/large"],
    spares: ["L0/segmented/elementwise", "L3/segmented/matmul"],
    make: () =>
      spoiled((driver) => ({
        capabilities: { ...driver.capabilities, ...SMALL },
        run(call) {
          const handles = driver.run(call);
          const table = call.inputs[0];
          if (call.op.name !== "gatherRows" || table?.dtype !== "f32") return handles;
          const width = table.shape.slice(1).reduce((product, size) => product * size, 1);
          const ids = new Int32Array(call.inputs[1]?.handle.block ?? new ArrayBuffer(0));
          const values = new Float32Array(handles[0]?.block ?? new ArrayBuffer(0));
          for (const [row, id] of ids.entries()) {
            if (id * width * 4 >= 4096) values.fill(0, row * width, (row + 1) * width);
          }
          return handles;
        },
      })),
  },
  {
    name: "tensors of more than a segment cannot be made",
    caughtBy: ["L2/segmented/gather-rows", "L0/segmented/reduce", "L4/segmented/adam-w"],
    spares: [],
    make: () =>
      spoiled((driver) => ({
        capabilities: { ...driver.capabilities, ...SMALL },
        allocate(spec) {
          const bytes = 4 * spec.shape.reduce((product, size) => product * size, 1);
          if (bytes > 4096 && spec.dtype === "f32") throw new OutOfMemoryError("too large", bytes);
          return driver.allocate(spec);
        },
      })),
  },
  lossFault(
    "a lost device goes on as if nothing had happened",
    ["L0/device-loss/reads-reject", "L0/device-loss/calls-throw", "L4/device-loss/training"],
    ["L0/device-loss/in-flight"],
    { ignoresLoss: true, keepsOld: true },
  ),
  lossFault(
    "buffers from before the loss still read after recover()",
    ["L4/device-loss/recover"],
    ["L0/device-loss/reads-reject", "L4/device-loss/training"],
    { keepsOld: true },
  ),
];

describe("faults of extensions", () => {
  it.each(FAULTS)("$name", async (fault) => {
    const found = await failuresOf(extensionCases, fault, references);
    expect(found.sort()).toEqual([...fault.caughtBy].sort());
  });
});
