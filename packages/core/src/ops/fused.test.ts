import { type CpuBuffer, cpuDriver, create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import type { Attributes, Backend, Driver, RunCall, TensorSpec } from "../contract.ts";
import { type HostArray, hostArray } from "../dtype.ts";
import { defineBackend } from "../engine.ts";
import { valueAndGrad } from "../gradient.ts";
import { hostNormal, randomKey } from "../random.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { type Tensor, donate } from "../tensor.ts";
import * as ops from "./index.ts";

/** An input of a plain kernel. */
interface Values extends TensorSpec {
  readonly data: HostArray;
}

type PlainKernel = (inputs: readonly (Values | undefined)[], attributes: Attributes) => number[][];

const at = (values: Values | undefined, index: number): number => values?.data[index] ?? 0;
const width = (values: Values | undefined): number => values?.shape.at(-1) ?? 0;

/**
 * Fused ops as plain loops, written from their doc comments and sharing nothing with the
 * decompositions. Each gives its outputs and then its residuals.
 */
const PLAIN: Readonly<Record<string, PlainKernel>> = {
  rmsNorm([x, weight], { epsilon }) {
    const size = width(x);
    const outputs: number[] = [];
    const rstds: number[] = [];
    for (let start = 0; start < (x?.data.length ?? 0); start += size) {
      let squares = 0;
      for (let i = 0; i < size; i++) squares += at(x, start + i) ** 2;
      const rstd = 1 / Math.sqrt(squares / size + (epsilon as number));
      rstds.push(rstd);
      for (let i = 0; i < size; i++) outputs.push(at(x, start + i) * rstd * at(weight, i));
    }
    return [outputs, rstds];
  },

  rmsNormBackward([x, weight, rstds, gradient]) {
    const size = width(x);
    const dx: number[] = [];
    const dWeight = new Array<number>(size).fill(0);
    for (let start = 0; start < (x?.data.length ?? 0); start += size) {
      const rstd = at(rstds, start / size);
      let dot = 0;
      for (let i = 0; i < size; i++) {
        dot += at(gradient, start + i) * at(weight, i) * at(x, start + i);
      }
      for (let i = 0; i < size; i++) {
        const g = at(gradient, start + i);
        const value = at(x, start + i);
        dx.push(rstd * (g * at(weight, i) - (value * dot * rstd ** 2) / size));
        dWeight[i] = (dWeight[i] ?? 0) + g * value * rstd;
      }
    }
    return [dx, dWeight];
  },

  crossEntropy([logits, targets]) {
    const size = width(logits);
    const losses: number[] = [];
    const residuals: number[] = [];
    for (let row = 0; row < (targets?.data.length ?? 0); row++) {
      let total = 0;
      for (let i = 0; i < size; i++) total += Math.exp(at(logits, row * size + i));
      const target = at(targets, row);
      const counts = target >= 0 && target < size;
      residuals.push(Math.log(total));
      losses.push(counts ? Math.log(total) - at(logits, row * size + target) : 0);
    }
    return [losses, residuals];
  },

  crossEntropyBackward([logits, targets, residuals, gradient]) {
    const size = width(logits);
    const out: number[] = [];
    for (let row = 0; row < (targets?.data.length ?? 0); row++) {
      const target = at(targets, row);
      const counts = target >= 0 && target < size;
      for (let i = 0; i < size; i++) {
        const share = Math.exp(at(logits, row * size + i) - at(residuals, row));
        out.push(counts ? at(gradient, row) * (share - (i === target ? 1 : 0)) : 0);
      }
    }
    return [out];
  },

  attention([q, k, v, mask, sinks], attributes) {
    const { batch, queries, keys, heads, valueWidth, seen, keyAt, queryAt, score } = attended(
      [q, k, v, mask],
      attributes,
    );
    const outputs = new Array<number>(batch * queries * heads * valueWidth).fill(0);
    const residuals = new Array<number>(batch * heads * queries).fill(0);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < queries; i++) {
          let total = sinks ? Math.exp(at(sinks, h)) : 0;
          for (let j = 0; j < keys; j++) if (seen(b, i, j)) total += Math.exp(score(b, h, i, j));
          if (total === 0) continue;
          residuals[(b * heads + h) * queries + i] = Math.log(total);
          for (let j = 0; j < keys; j++) {
            if (!seen(b, i, j)) continue;
            const share = Math.exp(score(b, h, i, j)) / total;
            for (let c = 0; c < valueWidth; c++) {
              const place = queryAt(b, i, h) * valueWidth + c;
              outputs[place] =
                (outputs[place] ?? 0) + share * at(v, keyAt(b, j, h) * valueWidth + c);
            }
          }
        }
      }
    }
    return [outputs, residuals];
  },

  attentionBackward([q, k, v, output, residuals, gradient, mask], attributes) {
    const { batch, queries, keys, heads, size, valueWidth, seen, keyAt, queryAt, score } = attended(
      [q, k, v, mask],
      attributes,
    );
    const scale = attributes["scale"] as number;
    const [dq, dk, dv] = [q, k, v].map((x) => new Array<number>(x?.data.length ?? 0).fill(0)) as [
      number[],
      number[],
      number[],
    ];
    const increase = (list: number[], place: number, by: number): void => {
      list[place] = (list[place] ?? 0) + by;
    };
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < queries; i++) {
          const row = queryAt(b, i, h);
          let mean = 0;
          for (let c = 0; c < valueWidth; c++) {
            mean += at(gradient, row * valueWidth + c) * at(output, row * valueWidth + c);
          }
          for (let j = 0; j < keys; j++) {
            if (!seen(b, i, j)) continue;
            const key = keyAt(b, j, h);
            const residual = at(residuals, (b * heads + h) * queries + i);
            const share = Math.exp(score(b, h, i, j) - residual);
            let dShare = 0;
            for (let c = 0; c < valueWidth; c++) {
              const g = at(gradient, row * valueWidth + c);
              dShare += g * at(v, key * valueWidth + c);
              increase(dv, key * valueWidth + c, share * g);
            }
            const dScore = share * (dShare - mean) * scale;
            for (let c = 0; c < size; c++) {
              increase(dq, row * size + c, dScore * at(k, key * size + c));
              increase(dk, key * size + c, dScore * at(q, row * size + c));
            }
          }
        }
      }
    }
    return [dq, dk, dv];
  },
};

/** What both halves of attention need of its inputs. */
function attended(
  [q, k, v, mask]: readonly (Values | undefined)[],
  { causal, scale, position, window = Infinity }: Attributes,
) {
  const [batch = 0, queries = 0, heads = 0, size = 0] = q?.shape ?? [];
  const [, keys = 0, keyHeads = 0] = k?.shape ?? [];
  const queryAt = (b: number, i: number, h: number): number => (b * queries + i) * heads + h;
  const keyAt = (b: number, j: number, h: number): number =>
    (b * keys + j) * keyHeads + Math.floor(h / (heads / keyHeads));
  const seen = (b: number, i: number, j: number): boolean =>
    (!causal || isInReach((position as number) + i - j)) && (!mask || at(mask, b * keys + j) === 1);
  const isInReach = (distance: number): boolean => distance >= 0 && distance < (window as number);
  const score = (b: number, h: number, i: number, j: number): number => {
    let dot = 0;
    for (let c = 0; c < size; c++) {
      dot += at(q, queryAt(b, i, h) * size + c) * at(k, keyAt(b, j, h) * size + c);
    }
    return dot * (scale as number);
  };
  const valueWidth = v?.shape[3] ?? 0;
  return { batch, queries, keys, heads, size, valueWidth, seen, keyAt, queryAt, score };
}

/** The oracle with plain kernels of fused ops added. */
function withKernels(names: readonly string[]): Backend {
  const inner = cpuDriver();
  const driver: Driver<CpuBuffer> = {
    specVersion: 1,
    name: "plain",
    capabilities: { ...inner.capabilities, ops: [...inner.capabilities.ops, ...names] },
    allocate: (spec) => inner.allocate(spec),
    write: (handle, offset, bytes) => inner.write(handle, offset, bytes),
    read: (handle, offset, length) => inner.read(handle, offset, length),
    free: (handle) => inner.free(handle),
    sync: () => inner.sync(),
    statistics: () => inner.statistics(),
    dispose: () => inner.dispose(),
    run(call: RunCall<CpuBuffer>) {
      if (!names.includes(call.op.name)) return inner.run(call);
      const inputs = call.inputs.map(
        (input) =>
          input && {
            ...input,
            data: hostArray(input.dtype, input.handle.block, 0, sizeOf(input.shape)),
          },
      );
      const results = PLAIN[call.op.name]?.(inputs, call.attributes) ?? [];
      return [...call.outputs, ...call.residuals].map((spec, index) => {
        const handle = inner.allocate(spec);
        hostArray(spec.dtype, handle.block, 0, sizeOf(spec.shape)).set(results[index] ?? []);
        return handle;
      });
    },
  };
  return defineBackend(driver);
}

interface Fused {
  readonly name: string;
  /** Names of the op and of its backward. */
  readonly pair: readonly [string, string];
  readonly shapes: readonly Shape[];
  run(backend: Backend, inputs: readonly Tensor[]): Tensor;
}

const fused: Fused[] = [];
for (const shape of [[5], [3, 4], [0, 4], [2, 2, 3]]) {
  fused.push({
    name: `rmsNorm [${shape}]`,
    pair: ["rmsNorm", "rmsNormBackward"],
    shapes: [shape, shape.slice(-1)],
    run: (_, [x, weight]) => ops.rmsNorm(x as Tensor, weight as Tensor, { epsilon: 1e-2 }),
  });
}
fused.push({
  name: "crossEntropy",
  pair: ["crossEntropy", "crossEntropyBackward"],
  shapes: [[5, 4]],
  run: (backend, [logits]) =>
    ops.crossEntropy(logits as Tensor, backend.tensor([0, 3, -100, 4, 1], { dtype: "i32" })),
});
const attentions: readonly (readonly [
  shapes: readonly [q: Shape, k: Shape, v: Shape, sinks?: Shape],
  attributes: ops.AttentionAttributes,
  mask?: readonly number[],
])[] = [
  [
    [
      [2, 3, 2, 4],
      [2, 3, 2, 4],
      [2, 3, 2, 4],
    ],
    { causal: true, scale: 0.5, position: 0 },
  ],
  [
    [
      [1, 3, 4, 2],
      [1, 5, 2, 2],
      [1, 5, 2, 3],
    ],
    { causal: false, scale: 1, position: 0 },
  ],
  [
    [
      [1, 2, 4, 2],
      [1, 7, 1, 2],
      [1, 7, 1, 2],
    ],
    { causal: true, scale: 1, position: 3 },
  ],
  [
    [
      [2, 2, 2, 2],
      [2, 3, 1, 2],
      [2, 3, 1, 2],
    ],
    { causal: false, scale: 1, position: 0 },
    [1, 0, 1, 0, 0, 0],
  ],
  [
    [
      [2, 3, 2, 2],
      [2, 3, 1, 2],
      [2, 3, 1, 2],
    ],
    { causal: true, scale: 1, position: 0 },
    [0, 1, 1, 1, 1, 0],
  ],
  [
    [
      [2, 4, 2, 2],
      [2, 7, 1, 2],
      [2, 7, 1, 2],
    ],
    { causal: true, scale: 1, position: 2, window: 3 },
  ],
  [
    [
      [2, 3, 2, 2],
      [2, 3, 1, 2],
      [2, 3, 1, 2],
    ],
    { causal: true, scale: 1, position: 0, window: 1 },
    [0, 1, 1, 1, 1, 0],
  ],
  [[[2, 3, 4, 2], [2, 5, 2, 2], [2, 5, 2, 3], [4]], { causal: false, scale: 0.5, position: 0 }],
  [
    [[2, 3, 4, 2], [2, 5, 2, 2], [2, 5, 2, 3], [4]],
    { causal: true, scale: 0.5, position: 1, window: 2 },
    [0, 1, 1, 1, 1, 0, 0, 0, 0, 1],
  ],
];
for (const [shapes, attributes, mask] of attentions) {
  fused.push({
    name: `attention ${JSON.stringify([shapes, attributes, mask])}`,
    pair: ["attention", "attentionBackward"],
    shapes: shapes.filter((shape) => shape !== undefined),
    run(backend, [q, k, v, sinks]) {
      const seen = mask && backend.tensor(mask, { shape: shapes[1].slice(0, 2), dtype: "bool" });
      return ops.attention(q as Tensor, k as Tensor, v as Tensor, seen, sinks, attributes);
    },
  });
}

const decomposed = await create();

async function lossAndGradients(one: Fused, backend: Backend): Promise<number[][]> {
  const inputs = one.shapes.map((shape, index) =>
    backend.tensor(hostNormal(randomKey(index), sizeOf(shape)), { shape }),
  );
  backend.resetRecord();
  const { loss, grads } = valueAndGrad((given: Tensor[]) => {
    const output = one.run(backend, given);
    const weights = backend.tensor(hostNormal(randomKey(9), output.size), { shape: output.shape });
    return ops.sum(ops.mul(output, weights));
  })(inputs);
  const found = await Promise.all([loss, ...grads].map(async (tensor) => tensor && tensor.read()));
  return found.map((values) => [...(values ?? [Number.NaN])]);
}

/** Largest difference as a share of the largest wanted value (of 1 where all are smaller). */
function difference(found: readonly number[] | HostArray, wanted: readonly number[]): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  const size = Math.max(1, ...wanted.map(Math.abs));
  const errors = wanted.map((value, index) => Math.abs(value - (found[index] ?? Number.NaN)));
  return Math.max(0, ...errors) / size;
}

describe.each(fused)("$name", (one) => {
  it("gives the same from its kernels and its decomposition", async () => {
    const backend = withKernels(one.pair);
    const byKernel = await lossAndGradients(one, backend);
    const [forward, backward] = one.pair;
    expect(backend.record()[forward]).toEqual({ kernel: 1, decomposed: 0 });
    expect(backend.record()[backward]).toEqual({ kernel: 1, decomposed: 0 });
    const byDecomposition = await lossAndGradients(one, decomposed);
    expect(decomposed.record()[forward]).toEqual({ kernel: 0, decomposed: 1 });
    for (const [index, wanted] of byKernel.entries()) {
      expect(difference(byDecomposition[index] ?? [], wanted)).toBeLessThan(1e-12);
    }
    await backend.dispose();
  });

  it("is taken apart whole where either half has no kernel", async () => {
    for (const name of one.pair) {
      const backend = withKernels([name]);
      const found = await lossAndGradients(one, backend);
      expect(backend.record()[one.pair[0]]).toEqual({ kernel: 0, decomposed: 1 });
      for (const [index, wanted] of (await lossAndGradients(one, decomposed)).entries()) {
        expect(found[index]).toEqual(wanted);
      }
      await backend.dispose();
    }
  });
});

describe("backward ops taken apart", () => {
  const backend = decomposed;
  const random = (seed: number, ...shape: number[]): Tensor =>
    backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
  const plain = async (
    name: string,
    inputs: readonly (Tensor | undefined)[],
    attributes: Attributes = {},
  ): Promise<number[][]> => {
    const values = await Promise.all(
      inputs.map(async (x) => x && { shape: x.shape, dtype: x.dtype, data: await x.read() }),
    );
    return PLAIN[name]?.(values, attributes) ?? [];
  };
  const upload = (values: readonly number[] | undefined, shape: Shape): Tensor =>
    backend.tensor(Float64Array.from(values ?? []), { shape });

  it("rmsNormBackward", async () => {
    const [x, weight, gradient] = [random(1, 3, 4), random(2, 4), random(3, 3, 4)];
    const [, rstds] = await plain("rmsNorm", [x, weight], { epsilon: 0.1 });
    const inputs = [x, weight, upload(rstds, [3, 1]), gradient] as const;
    const found = ops.rmsNormBackward(...inputs, { epsilon: 0.1 });
    const wanted = await plain("rmsNormBackward", inputs, { epsilon: 0.1 });
    for (const [index, tensor] of found.entries()) {
      expect(difference(await tensor.read(), wanted[index] ?? [])).toBeLessThan(1e-12);
    }
  });

  it("crossEntropyBackward", async () => {
    const targets = backend.tensor([2, -1, 0], { dtype: "i32" });
    const [logits, gradient] = [random(1, 3, 4), random(2, 3)];
    const [, residuals] = await plain("crossEntropy", [logits, targets]);
    const inputs = [logits, targets, upload(residuals, [3]), gradient] as const;
    const found = ops.crossEntropyBackward(...inputs);
    const [wanted = []] = await plain("crossEntropyBackward", inputs);
    expect(difference(await found.read(), wanted)).toBeLessThan(1e-12);
  });

  it("attentionBackward", async () => {
    const [q, k, v] = [random(1, 1, 3, 4, 2), random(2, 1, 5, 2, 2), random(3, 1, 5, 2, 3)];
    const gradient = random(4, 1, 3, 4, 3);
    const mask = backend.tensor([1, 0, 1, 1, 1], { shape: [1, 5], dtype: "bool" });
    const sinks = random(5, 4);
    const attributes = { causal: true, scale: 0.7, position: 2, window: 4 };
    const [outputs, residuals] = await plain("attention", [q, k, v, mask, sinks], attributes);
    const [output, logSumExp] = [upload(outputs, [1, 3, 4, 3]), upload(residuals, [1, 4, 3])];
    const inputs = [q, k, v, output, logSumExp, gradient, mask, sinks] as const;
    const found = ops.attentionBackward(...inputs, attributes);
    const wanted = await plain("attentionBackward", inputs, attributes);
    for (const [index, tensor] of found.entries()) {
      expect(difference(await tensor.read(), wanted[index] ?? [])).toBeLessThan(1e-12);
    }
  });
});

describe("ops without a backward op", () => {
  it("adamW is torch.optim.AdamW", async () => {
    // torch.optim.AdamW(lr=0.1, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.2) by its published steps.
    let [p, m, v] = [0.5, 0, 0];
    const gradients = [0.3, -0.2, 0.7];
    let state = [[p], [m], [v]].map((value) => decomposed.tensor(Float64Array.from(value)));
    for (const [index, g] of gradients.entries()) {
      const step = index + 1;
      p *= 1 - 0.1 * 0.2;
      m = 0.9 * m + 0.1 * g;
      v = 0.99 * v + 0.01 * g * g;
      const denominator = Math.sqrt(v) / Math.sqrt(1 - 0.99 ** step) + 1e-3;
      p -= ((0.1 / (1 - 0.9 ** step)) * m) / denominator;
      const gradient = decomposed.tensor(Float64Array.of(g));
      const [parameter, first, second] = state as [Tensor, Tensor, Tensor];
      state = ops.adamW(donate(parameter), gradient, donate(first), donate(second), {
        learningRate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
        weightDecay: 0.2,
        step,
      });
      expect(parameter.disposed).toBe(true);
      for (const [which, wanted] of [p, m, v].entries()) {
        expect(await state[which]?.item()).toBeCloseTo(wanted, 14);
      }
    }
  });

  it("softmax ignores what is masked, even NaN, and keeps NaN in its own row", async () => {
    const x = decomposed.tensor(Float64Array.of(1, Number.NaN, 2, 1, Number.NaN, 2, 3, 4, 5), {
      shape: [3, 3],
    });
    const mask = decomposed.tensor([1, 0, 1, 1, 1, 1, 0, 0, 0], { shape: [3, 3], dtype: "bool" });
    const found = [...(await ops.softmax(x, mask).read())];
    const shares = [1 / (1 + Math.E), 0, 1 / (1 + Math.exp(-1))];
    expect(difference(found.slice(0, 3), shares)).toBeLessThan(1e-12);
    expect(found.slice(3, 6)).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(found.slice(6)).toEqual([0, 0, 0]);
  });

  it("softmax takes a donated tensor, though its decomposition reads it twice", async () => {
    const x = decomposed.tensor(Float64Array.of(3, 3));
    expect([...(await ops.softmax(donate(x)).read())]).toEqual([0.5, 0.5]);
    expect(x.disposed).toBe(true);
  });

  it("softmax takes its maximum from what is not masked", async () => {
    const x = decomposed.tensor(Float64Array.of(1, 1, 1e4, -1e4, -1e4, 0), { shape: [2, 3] });
    const mask = decomposed.tensor([1, 1, 0, 1, 1, 0], { shape: [2, 3], dtype: "bool" });
    expect([...(await ops.softmax(x, mask).read())]).toEqual([0.5, 0.5, 0, 0.5, 0.5, 0]);
  });

  it("softmax and logSumExp do not overflow", async () => {
    const x = decomposed.tensor(new Float32Array([1e4, 1e4, -1e4]));
    expect([...(await ops.softmax(x).read())]).toEqual([0.5, 0.5, 0]);
    expect(await ops.logSumExp(x).item()).toBeCloseTo(1e4 + Math.LN2, 2);
  });

  it("rope turns each pair by its angle", async () => {
    const { cos, sin } = ops.rotaryTable(decomposed, {
      positions: [0, 1, 5],
      frequencies: ops.rotaryFrequencies(4, 100),
      dtype: "f64",
    });
    const data = hostNormal(randomKey(3), 3 * 2 * 5);
    const x = decomposed.tensor(data, { shape: [3, 2, 5] });
    const frequencies = [1, 0.1];
    for (const interleaved of [false, true]) {
      const wanted = [...data];
      for (const [token, position] of [0, 1, 5].entries()) {
        for (const head of [0, 1]) {
          for (const pair of [0, 1]) {
            const start = (token * 2 + head) * 5;
            const first = start + (interleaved ? 2 * pair : pair);
            const second = start + (interleaved ? 2 * pair + 1 : pair + 2);
            const angle = position * (frequencies[pair] ?? 0);
            const [a, b] = [data[first] ?? 0, data[second] ?? 0];
            wanted[first] = a * Math.cos(angle) - b * Math.sin(angle);
            wanted[second] = b * Math.cos(angle) + a * Math.sin(angle);
          }
        }
      }
      const found = await ops.rope(x, cos, sin, { interleaved }).read();
      expect(difference(found, wanted)).toBeLessThan(1e-12);
    }
  });

  it("rope's scale multiplies both tables", async () => {
    const options = { positions: [2], frequencies: [0.5] };
    const plain = ops.rotaryTable(decomposed, { ...options, dtype: "f64" });
    const scaled = ops.rotaryTable(decomposed, { ...options, scale: 3, dtype: "f64" });
    expect(await scaled.cos.item()).toBe(3 * (await plain.cos.item()));
    expect(await scaled.sin.item()).toBe(3 * (await plain.sin.item()));
  });
});

describe("attention", () => {
  it("does not look behind the last query of a causal cache", async () => {
    const data = (length: number, seed: number): Float64Array =>
      hostNormal(randomKey(seed), length);
    const q = decomposed.tensor(data(4, 1), { shape: [1, 1, 2, 2] });
    const cache = (seed: number, rest: number): Tensor => {
      const values = data(10, seed);
      values.fill(rest, 6);
      return decomposed.tensor(values, { shape: [1, 5, 1, 2] });
    };
    const run = (rest: number): Tensor =>
      ops.attention(q, cache(2, rest), cache(3, rest), undefined, undefined, {
        causal: true,
        scale: 1,
        position: 2,
      });
    expect(await run(Number.NaN).read()).toEqual(await run(0).read());
  });

  /** Keys that are all 0, so that every key seen has the same share; value j is 2^j. */
  const shares = async (
    queries: number,
    keys: number,
    attributes: Partial<ops.AttentionAttributes>,
    { mask, sinks }: { readonly mask?: readonly number[]; readonly sinks?: readonly number[] } = {},
  ): Promise<number[]> => {
    const heads = sinks?.length ?? 1;
    const powers = Float64Array.from({ length: keys }, (_, key) => 2 ** key);
    const output = ops.attention(
      ops.zeros(decomposed, [1, queries, heads, 2], "f64"),
      ops.zeros(decomposed, [1, keys, 1, 2], "f64"),
      decomposed.tensor(powers, { shape: [1, keys, 1, 1] }),
      mask && decomposed.tensor(mask, { shape: [1, keys], dtype: "bool" }),
      sinks && decomposed.tensor(Float64Array.from(sinks)),
      { causal: true, scale: 1, position: 0, ...attributes },
    );
    return [...(await output.read())];
  };

  it.each([
    { window: 1, wanted: [1, 2, 4, 8] },
    { window: 2, wanted: [1, 1.5, 3, 6] },
    { window: 3, wanted: [1, 1.5, 7 / 3, 14 / 3] },
    { window: 4, wanted: [1, 1.5, 7 / 3, 15 / 4] },
    { window: 1e9, wanted: [1, 1.5, 7 / 3, 15 / 4] },
    { window: undefined, wanted: [1, 1.5, 7 / 3, 15 / 4] },
  ])("sees the last $window keys up to a query's own place", async ({ window, wanted }) => {
    expect(difference(await shares(4, 4, { window }), wanted)).toBeLessThan(1e-15);
    // One query after the other, with room left in the cache.
    for (const [position, value] of wanted.entries()) {
      const one = await shares(1, 6, { window, position });
      expect(difference(one, [value])).toBeLessThan(1e-15);
    }
  });

  it("a sink takes its share of the denominator and gives no value", async () => {
    const sinks = [0, Math.log(3), -30, 1e4];
    const found = await shares(2, 2, {}, { sinks });
    const [first, second] = [found.slice(0, 4), found.slice(4)];
    expect(difference(first, [1 / 2, 1 / 4, 1, 0])).toBeLessThan(1e-12);
    expect(difference(second, [3 / 3, 3 / 5, 3 / 2, 0])).toBeLessThan(1e-12);
  });

  it("gives zeros where a sink alone is seen", async () => {
    expect(await shares(2, 3, { window: 1 }, { mask: [0, 0, 1], sinks: [0, -5] })).toEqual([
      0, 0, 0, 0,
    ]);
  });

  it("a sink's gradient is the share that it takes, less what it would give", async () => {
    const { loss, grads } = valueAndGrad((sinks: Tensor) => {
      const [q, v] = [
        ops.zeros(decomposed, [1, 1, 2, 1], "f64"),
        ops.full(decomposed, [1, 1, 2, 1], 5, "f64"),
      ];
      const attributes = { causal: false, scale: 1, position: 0 };
      return ops.sum(ops.attention(q, q, v, undefined, sinks, attributes));
    })(decomposed.tensor(Float64Array.of(0, Math.log(4))));
    // 5/(1 + e^s), whose slope is −5·e^s/(1 + e^s)².
    expect(await loss.item()).toBeCloseTo(5 / 2 + 5 / 5, 14);
    expect(difference((await grads?.read()) ?? [], [-5 / 4, -20 / 25])).toBeLessThan(1e-14);
  });
});
