import { OutOfMemoryError } from "@moiety/core";
import { BF16, F16, HalfCodec } from "./half-floats.ts";

/** Elements that elementwise kernels and reductions work on at a time: blocks stay in the L1 cache. */
export const BLOCK = 1024;

/** Working memory, kept between calls. Its content is unspecified when asked for. */
export class Scratch {
  readonly #arrays = new Map<string, Float64Array>();
  readonly #codecs = new Map<string, HalfCodec>();

  /** At least `length` numbers under a name; the same name gives the same memory. */
  float64(name: string, length: number): Float64Array {
    const known = this.#arrays.get(name);
    if (known !== undefined && known.length >= length) return known;
    const array = newFloat64(length);
    this.#arrays.set(name, array);
    return array;
  }

  /** A block of {@link BLOCK} numbers. */
  block(name: string): Float64Array {
    return this.float64(`block ${name}`, BLOCK);
  }

  /** The codec of a 16-bit float dtype. */
  half(dtype: "f16" | "bf16"): HalfCodec {
    const known = this.#codecs.get(dtype);
    if (known !== undefined) return known;
    const codec = new HalfCodec(dtype === "f16" ? F16 : BF16);
    this.#codecs.set(dtype, codec);
    return codec;
  }

  dispose(): void {
    this.#arrays.clear();
    this.#codecs.clear();
  }
}

/** Zeros. Throws {@link OutOfMemoryError}. */
export function newFloat64(length: number): Float64Array {
  try {
    return new Float64Array(length);
  } catch (cause) {
    const bytes = length * 8;
    throw new OutOfMemoryError(`no room for ${bytes} bytes of working memory`, bytes, { cause });
  }
}
