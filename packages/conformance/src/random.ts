import {
  type DType,
  type RandomKey,
  type Shape,
  foldIn,
  hostBits,
  hostNormal,
  hostUniform,
  randomKey,
  sizeOf,
} from "@moiety/core";
import { type HostTensor, generated, hostTensor } from "./host-tensor.ts";

/** Seeded values for a case. Every call draws anew; the same seed gives the same sequence. */
export interface CaseRandom {
  /** A key for the random ops, or for what a case draws itself. */
  key(): RandomKey;
  /** Standard normal numbers times `scale`, f32 unless given. */
  normal(shape: Shape, scale?: number, dtype?: "f32" | "f64"): HostTensor;
  /** Uniform numbers from `low` up to `high`, f32 unless given. */
  uniform(shape: Shape, low?: number, high?: number, dtype?: "f32" | "f64"): HostTensor;
  /**
   * Multiples of 2⁻³ from −8 to 8 (129 values): exact in f32 and f16, sums of many stay exact, and
   * ties are frequent.
   */
  dyadic(shape: Shape): HostTensor;
  /** Whole numbers from `low` up to and including `high`, i32 unless given. */
  integers(shape: Shape, low: number, high: number, dtype?: DType): HostTensor;
  /** 0 or 1; 1 with the given probability. */
  bools(shape: Shape, probability?: number): HostTensor;
  /** The numbers 0 … n − 1 in random order, i32 `[n]`. */
  permutation(n: number): HostTensor;
  /** Random bit patterns of a dtype (bool: 0 or 1). */
  bits(shape: Shape, dtype: DType): HostTensor;
  /** One of a list. */
  pick<T>(list: readonly T[]): T;
  /** A whole number from `low` up to and including `high`. */
  integer(low: number, high: number): number;
}

/** A case's random values from its seed. */
export function caseRandom(seed: number): CaseRandom {
  const root = randomKey(seed);
  let drawn = 0;
  const key = (): RandomKey => foldIn(root, drawn++);
  const uniforms = (count: number): Float64Array => hostUniform(key(), count);
  const integer = (low: number, high: number): number =>
    low + Math.floor((uniforms(1)[0] ?? 0) * (high - low + 1));
  return {
    key,
    integer,
    normal(shape, scale = 1, dtype = "f32") {
      const values = hostNormal(key(), sizeOf(shape));
      return generated(shape, dtype, (index) => (values[index] ?? 0) * scale);
    },
    uniform(shape, low = 0, high = 1, dtype = "f32") {
      const values = uniforms(sizeOf(shape));
      return generated(shape, dtype, (index) => low + (values[index] ?? 0) * (high - low));
    },
    dyadic(shape) {
      const values = uniforms(sizeOf(shape));
      return generated(shape, "f32", (index) => Math.floor((values[index] ?? 0) * 129) / 8 - 8);
    },
    integers(shape, low, high, dtype = "i32") {
      const values = uniforms(sizeOf(shape));
      const span = high - low + 1;
      return generated(shape, dtype, (index) => low + Math.floor((values[index] ?? 0) * span));
    },
    bools(shape, probability = 0.5) {
      const values = uniforms(sizeOf(shape));
      return generated(shape, "bool", (index) => ((values[index] ?? 0) < probability ? 1 : 0));
    },
    permutation(n) {
      const values = uniforms(n);
      const order = Array.from({ length: n }, (_, index) => index);
      for (let last = n - 1; last > 0; last--) {
        const other = Math.floor((values[last] ?? 0) * (last + 1));
        [order[last], order[other]] = [order[other] ?? 0, order[last] ?? 0];
      }
      return hostTensor(order, "i32");
    },
    bits: (shape, dtype) => patterns(key(), shape, dtype),
    pick(list) {
      const chosen = list[integer(0, list.length - 1)];
      if (chosen === undefined) throw new RangeError("pick needs a list that is not empty");
      return chosen;
    },
  };
}

function patterns(key: RandomKey, shape: Shape, dtype: DType): HostTensor {
  if (dtype === "bool") {
    const words = hostBits(key, sizeOf(shape));
    return generated(shape, dtype, (index) => (words[index] ?? 0) & 1);
  }
  const empty = generated(shape, dtype, () => 0);
  const words = hostBits(key, Math.ceil(empty.data.byteLength / 4));
  new Uint8Array(empty.data.buffer).set(new Uint8Array(words.buffer, 0, empty.data.byteLength));
  return empty;
}

/** The seed of a case: the run's seed and the case's id, mixed (FNV-1a). A u32. */
export function caseSeed(seed: number, id: string): number {
  let hash = 0x811c9dc5;
  for (const text of [String(seed), "/", id]) {
    for (let index = 0; index < text.length; index++) {
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
    }
  }
  return hash >>> 0;
}
