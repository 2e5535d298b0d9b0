import { type Backend, type HostArray, type Shape, type Tensor } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { afterAll, beforeAll, expect } from "vitest";
import { create } from "../index.ts";
import type { WebGpuOptions } from "../options.ts";

/** A program over the public API, to be run on both backends. */
export type TestProgram = (backend: Backend) => Tensor | readonly Tensor[];

/** A WebGPU backend and the oracle, side by side. */
export interface Pair {
  readonly gpu: Backend;
  readonly cpu: Backend;
  /**
   * Runs a program on both and compares every output: integers, bools and half floats to the bit,
   * f32 within `tolerance` of the largest value in the output's row (the last axis), NaN for NaN.
   */
  agree(program: TestProgram, tolerance?: number): Promise<void>;
  dispose(): Promise<void>;
}

/** Makes both. `debug` is on unless said otherwise, so that a bad kernel is named. */
export async function createPair(options: WebGpuOptions = {}): Promise<Pair> {
  const gpu = await create({ debug: true, ...options });
  const cpu = await createCpu();
  return {
    gpu,
    cpu,
    async agree(program, tolerance = 1e-6) {
      const [found, wanted] = await Promise.all([outputsOf(gpu, program), outputsOf(cpu, program)]);
      expect(found.length).toBe(wanted.length);
      for (const [index, want] of wanted.entries()) {
        const got = found[index] as Output;
        expect([got.dtype, got.shape]).toEqual([want.dtype, want.shape]);
        const worst = worstOf(got.values, want.values, want.shape, want.dtype === "f32");
        if (worst.error > tolerance) {
          expect.fail(
            `output ${index}: at ${worst.index} got ${got.values[worst.index]}, ` +
              `wanted ${want.values[worst.index]} (error ${worst.error} of its row)`,
          );
        }
      }
    },
    async dispose() {
      await Promise.all([gpu.dispose(), cpu.dispose()]);
    },
  };
}

/** Checks on whole tensors and on tensors in segments, with the pairs that they run on. */
export interface PairChecks {
  /** The pair whose tensors are whole; there once the tests run. */
  readonly whole: Pair;
  /** The pair whose tensors are in segments; there once the tests run. */
  readonly segmented: Pair;
  readonly check: Pair["agree"];
  readonly checkSegmented: Pair["agree"];
  readonly checkBoth: Pair["agree"];
}

/** Makes both pairs before the tests of a group, and disposes them afterwards. */
export function pairChecks(segmentBytes: number): PairChecks {
  let pair: Pair;
  let segmented: Pair;
  beforeAll(async () => {
    pair = await createPair();
    segmented = await createPair({ segmentBytes, limits: "default" });
  });
  afterAll(async () => {
    await pair.dispose();
    await segmented.dispose();
  });
  const check: Pair["agree"] = (program, tolerance) => pair.agree(program, tolerance);
  const checkSegmented: Pair["agree"] = (program, tolerance) => segmented.agree(program, tolerance);
  return {
    get whole() {
      return pair;
    },
    get segmented() {
      return segmented;
    },
    check,
    checkSegmented,
    async checkBoth(program, tolerance) {
      await check(program, tolerance);
      await checkSegmented(program, tolerance);
    },
  };
}

export { randomTensor } from "./random-tensor.ts";

interface Output {
  readonly values: HostArray;
  readonly shape: Shape;
  readonly dtype: string;
}

async function outputsOf(backend: Backend, program: TestProgram): Promise<Output[]> {
  const kept = backend.scope(() => {
    const result = program(backend);
    return Array.isArray(result) ? [...result] : [result as Tensor];
  });
  const outputs = await Promise.all(
    kept.map(async (tensor) => ({
      values: await tensor.read(),
      shape: tensor.shape,
      dtype: tensor.dtype,
    })),
  );
  for (const tensor of kept) tensor.dispose();
  return outputs;
}

/** The largest error as a share of the largest wanted value in its row. */
function worstOf(
  got: HostArray,
  wanted: HostArray,
  shape: Shape,
  float: boolean,
): { readonly index: number; readonly error: number } {
  const width = Math.max(shape.at(-1) ?? 1, 1);
  let worst = { index: -1, error: 0 };
  for (let start = 0; start < wanted.length; start += width) {
    let largest = 1e-30;
    for (let i = start; i < start + width; i++) {
      const size = Math.abs(wanted[i] ?? 0);
      if (size > largest && size < Infinity) largest = size;
    }
    for (let index = start; index < start + width; index++) {
      const [a, b] = [got[index] ?? Number.NaN, wanted[index] ?? Number.NaN];
      if (Object.is(a, b) || a === b) continue;
      const error =
        float && Number.isFinite(a) && Number.isFinite(b) ? Math.abs(a - b) / largest : Infinity;
      if (error > worst.error) worst = { index, error };
    }
  }
  return worst;
}
