import { type DType, type Shape, hostNormal, hostUniform, randomKey, sizeOf } from "@moiety/core";

/** Host values of an input; f32 ones are widened where a program runs in f64. */
export interface Values {
  readonly data: readonly number[];
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A source of random numbers, shapes and values: the same for the same seed. */
export class Draw {
  #seed: number;

  constructor(seed: number) {
    this.#seed = Math.abs(seed) * 1000;
  }

  /** A whole number from `low` to `high`. */
  whole(low: number, high: number): number {
    const [share = 0] = hostUniform(randomKey(this.#seed++), 1);
    return low + Math.floor(share * (high - low + 1));
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.whole(0, list.length - 1)] as T;
  }

  /** Heads or tails. */
  chance(): boolean {
    return this.whole(0, 1) === 1;
  }

  /** Sizes from 0 (rarely) to 5. */
  shape(leastRank: number, mostRank: number): number[] {
    const rank = this.whole(leastRank, mostRank);
    return Array.from({ length: rank }, () => (this.whole(0, 19) === 0 ? 0 : this.whole(1, 5)));
  }

  /** Standard normal numbers, times `scale`, as f32 holds them. */
  floats(shape: Shape, scale = 1): Values {
    const drawn = hostNormal(randomKey(this.#seed++), sizeOf(shape));
    return { data: Array.from(drawn, (value) => Math.fround(value * scale)), shape, dtype: "f32" };
  }

  /** Numbers ≥ `least`, as f32 holds them. */
  positive(shape: Shape, least = 0.1): Values {
    const { data } = this.floats(shape);
    return { data: data.map((x) => Math.fround(Math.abs(x) + least)), shape, dtype: "f32" };
  }

  /** Whole numbers from `low` to `high`. */
  integers(shape: Shape, low: number, high: number, dtype: DType = "i32"): Values {
    const data = Array.from({ length: sizeOf(shape) }, () => this.whole(low, high));
    return { data, shape, dtype };
  }

  /** Values of any dtype, f16 and bf16 as bit patterns of finite numbers. */
  values(shape: Shape, dtype: DType): Values {
    switch (dtype) {
      case "f32":
      case "f64":
        return { ...this.floats(shape, 10), dtype };
      case "bool":
        return this.integers(shape, 0, 1, "bool");
      case "i32":
        return this.integers(shape, -(2 ** 31), 2 ** 31 - 1);
      case "u32":
        return this.integers(shape, 0, 2 ** 32 - 1, "u32");
      case "u8":
        return this.integers(shape, 0, 255, "u8");
      case "f16":
      case "bf16":
        return this.integers(shape, 0, 0x7bff, dtype);
    }
  }

  /** For each of `lanes` rows, `count` different numbers below `limit`. */
  distinct(lanes: number, count: number, limit: number): number[] {
    return Array.from({ length: lanes }, () => {
      const rest = Array.from({ length: limit }, (_, index) => index);
      return Array.from({ length: count }, () => {
        const [taken = 0] = rest.splice(this.whole(0, rest.length - 1), 1);
        return taken;
      });
    }).flat();
  }
}
