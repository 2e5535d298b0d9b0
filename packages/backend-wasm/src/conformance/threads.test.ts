import { conform } from "@moiety/conformance";
import {
  type Backend,
  type Driver,
  type Shape,
  type Tensor,
  adamW,
  apply,
  argsort,
  attention,
  cast,
  crossEntropy,
  cumsum,
  defineBackend,
  exp,
  full,
  groupRows,
  matmul,
  moe,
  mul,
  normal,
  randomBits,
  randomKey,
  reduce,
  rem,
  rmsNorm,
  segmentSum,
  softmax,
  sum,
  topK,
  transpose,
  valueAndGrad,
} from "@moiety/core";
import { glu } from "@moiety/experts";
import { mixtralRouter } from "@moiety/routers";
import { describe, expect, it } from "vitest";
import { type WasmOptions, wasmDriver } from "../index.ts";
import type { WasmBuffer } from "../memory.ts";

/** A digest of bytes: equal bits have equal ones, others hardly ever. */
function digest(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return `${bytes.length}:${(hash >>> 0).toString(16)}`;
}

/** A backend that notes all that is ever read from it. */
async function noting(options: WasmOptions, notes: string[]): Promise<Backend> {
  const driver = await wasmDriver(options);
  const noted: Driver<WasmBuffer> = {
    specVersion: driver.specVersion,
    name: driver.name,
    capabilities: driver.capabilities,
    allocate: (spec) => driver.allocate(spec),
    write: (handle, offset, bytes) => driver.write(handle, offset, bytes),
    async read(handle, offset, length) {
      const bytes = await driver.read(handle, offset, length);
      notes.push(digest(bytes));
      return bytes;
    },
    free: (handle) => driver.free(handle),
    run: (call) => driver.run(call),
    sync: () => driver.sync(),
    statistics: () => driver.statistics(),
    dispose: () => driver.dispose(),
  };
  return defineBackend(noted);
}

const drawn = (backend: Backend, seed: number, shape: Shape): Tensor =>
  normal(backend, { key: randomKey(seed), shape, dtype: "f32" });

/** Integers 0 … `below` − 1, and so some that repeat. */
const ids = (backend: Backend, seed: number, shape: Shape, below: number): Tensor => {
  const bits = randomBits(backend, { key: randomKey(seed), shape });
  return cast(rem(bits, full(backend, [], below, "u32")), { dtype: "i32" });
};

type Program = (backend: Backend) => readonly (Tensor | null)[];

/** Programs that are large enough to be cut into several tasks. */
const PROGRAMS: Readonly<Record<string, Program>> = {
  "a layer, forward and backward": (backend) => {
    const layer = moe({
      router: mixtralRouter({ hiddenSize: 72, numLocalExperts: 6, numExpertsPerTok: 2 }),
      experts: glu({ experts: 6, hiddenSize: 72, intermediateSize: 56, activation: "silu" }),
    });
    const { params, state } = layer.init(randomKey(1), { backend });
    const x = drawn(backend, 2, [700, 72]);
    const { loss, grads } = valueAndGrad((given: typeof params) => {
      const { output } = apply(layer, given, state, x);
      return sum(mul(output, drawn(backend, 3, output.shape)));
    })(params);
    const { gateUp, down } = grads.experts;
    return [loss, grads.router.weight ?? null, gateUp, down];
  },
  products: (backend) => {
    const [a, b] = [drawn(backend, 1, [3, 203, 150]), drawn(backend, 2, [3, 150, 131])];
    return [matmul(a, b), matmul(a, a, { transposeB: true }), matmul(b, b, { transposeA: true })];
  },
  attention: (backend) => {
    const [q, k, v] = [1, 2, 3].map((seed) =>
      drawn(backend, seed, [2, 150, seed === 1 ? 4 : 2, 24]),
    );
    const inputs = { q, k, v } as Readonly<Record<"q" | "k" | "v", Tensor>>;
    const { loss, grads } = valueAndGrad((given: typeof inputs) => {
      const y = attention(given.q, given.k, given.v, undefined, undefined, {
        causal: true,
        scale: 0.2,
        position: 0,
      });
      return sum(mul(y, drawn(backend, 9, y.shape)));
    })(inputs);
    return [loss, grads.q, grads.k, grads.v];
  },
  "the loss of a head": (backend) => {
    const inputs = {
      x: drawn(backend, 1, [300, 64]),
      norm: drawn(backend, 2, [64]),
      w: drawn(backend, 3, [500, 64]),
    };
    const { loss, grads } = valueAndGrad((given: typeof inputs) => {
      const rows = rmsNorm(given.x, given.norm, { epsilon: 1e-6 });
      return sum(
        crossEntropy(matmul(rows, given.w, { transposeB: true }), ids(backend, 4, [300], 500)),
      );
    })(inputs);
    return [loss, grads.x, grads.norm, grads.w];
  },
  "sums, sorts and groups": (backend) => {
    const x = drawn(backend, 1, [301, 407]);
    const assignments = ids(backend, 2, [50_000], 40);
    const groups = groupRows(assignments, { groups: 37 });
    return [
      ...[[0], [1], [0, 1]].map((axes) => reduce(x, { kind: "sum", axes, keepDims: false })),
      cumsum(x, { axis: 0 }),
      cumsum(x, { axis: 1, reverse: true }),
      softmax(x),
      ...topK(x, undefined, { k: 7 }),
      argsort(x, undefined, { descending: true }),
      ...groups,
      segmentSum(drawn(backend, 5, [50_000, 9]), groups[3], { segments: 37 }),
    ];
  },
  "elements, and the optimizer": (backend) => {
    const x = drawn(backend, 1, [257, 331]);
    const others = [2, 3, 4].map((seed) => drawn(backend, seed, [257, 331])) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const rates = {
      learningRate: 1e-3,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0.1,
      step: 3,
    };
    return [
      exp(x),
      transpose(x, { permutation: [1, 0] }),
      mul(x, drawn(backend, 7, [331])),
      ...adamW(x, ...others, rates),
    ];
  },
};

/** Digests of all that a program gives. */
async function bitsOf(options: WasmOptions, program: Program): Promise<readonly string[]> {
  const notes: string[] = [];
  const backend = await noting(options, notes);
  const tensors = backend.scope(() => program(backend));
  // One after the other, so that notes have an order.
  for (const tensor of tensors) {
    // oxlint-disable-next-line no-await-in-loop -- as above
    if (tensor !== null) await tensor.read();
  }
  expect(notes.length).toBe(tensors.length);
  await backend.dispose();
  return notes;
}

const THREADS = [1, 2, 3];

describe.each([true, false])("exact: %s", (exact) => {
  it.each(Object.entries(PROGRAMS))(
    "the bits of %s are those of any number of threads",
    async (_, program) => {
      const [alone, ...others] = await Promise.all(
        THREADS.map((threads) => bitsOf({ threads, exact }, program)),
      );
      expect(alone?.length).toBeGreaterThan(2);
      expect(new Set(alone).size).toBeGreaterThan(2);
      for (const bits of others) expect(bits).toEqual(alone);
    },
  );
});

it("the kit reads the same bits with any number of threads", async () => {
  const references = new Map();
  const runs: (readonly string[])[] = [];
  for (const threads of THREADS) {
    const notes: string[] = [];
    // oxlint-disable-next-line no-await-in-loop -- one after the other: they share the references
    const report = await conform({
      createBackend: () => noting({ threads, exact: true }, notes),
      profile: "full",
      cases: ["L1/route/renormalize", "L2/group-rows/", "L3/moe-ffn/", "L3/grouped-matmul/"],
      references,
    });
    expect([report.counts.fail, report.counts.error, report.counts.timeout]).toEqual([0, 0, 0]);
    runs.push(notes);
  }
  expect(runs[0]?.length).toBeGreaterThan(100);
  expect(runs[1]).toEqual(runs[0]);
  expect(runs[2]).toEqual(runs[0]);
}, 120_000);
