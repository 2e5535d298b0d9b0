import {
  type Backend,
  ConfigError,
  NumericError,
  type QuantizedTensor,
  type Shape,
  type QuantizedFormat,
  type Upload,
  quantizedFormats,
  storedFormat,
} from "@moiety/core";
import { type HostQuantized, hostQuantize } from "@moiety/experts";
import { type ExpertFormat, expertFormats } from "./quantization.ts";

/** Host floats. */
type Floats = Float32Array | Float64Array;

/**
 * Fills a leaf with codes, piece by piece, so that its numbers need not stand anywhere as a whole.
 * Pieces may come in any order, but one that ends within a row is followed by that row's rest.
 */
export class CodesWriter {
  readonly #path: string;
  readonly #shape: Shape;
  readonly #width: number;
  readonly #format: QuantizedFormat;
  readonly #codes: Upload;
  readonly #scales: Upload;
  /** The beginning of a row whose rest has not come. */
  #begun: { readonly row: number; readonly values: Floats } | undefined;

  /** `path` is what errors call the leaf, `shape` that of its numbers, made of whole blocks. */
  constructor(backend: Backend, path: string, shape: Shape, format: ExpertFormat) {
    this.#format = storedFormat(expertFormats[format]);
    const { codesPerByte, block, zeroPoint } = quantizedFormats[this.#format];
    const [rows, width] = [shape.slice(0, -1), shape.at(-1) ?? 0];
    this.#path = path;
    this.#shape = shape;
    this.#width = width;
    this.#codes = backend.upload({ shape: [...rows, width / codesPerByte], dtype: "u8" });
    this.#scales = backend.upload({
      shape: block === undefined ? rows : [...rows, width / block],
      dtype: zeroPoint === undefined ? "u8" : "f32",
    });
  }

  /** Writes numbers from element `start` on. @throws NumericError naming the leaf */
  write(start: number, values: Floats): void {
    let [at, rest] = [start, values];
    if (this.#begun) {
      const { row, values: begun } = this.#begun;
      if (at !== row * this.#width + begun.length) throw this.#outOfPlace(at);
      const joined = joinedFloats(begun, rest);
      [at, rest] = [row * this.#width, joined];
      this.#begun = undefined;
    }
    if (at % this.#width !== 0) throw this.#outOfPlace(at);
    const whole = rest.length - (rest.length % this.#width);
    this.#writeRows(at / this.#width, rest.subarray(0, whole));
    if (whole === rest.length) return;
    this.#begun = { row: (at + whole) / this.#width, values: rest.slice(whole) };
  }

  /** Gives the leaf. */
  finish(): QuantizedTensor {
    return { codes: this.#codes.finish(), scales: this.#scales.finish() };
  }

  #writeRows(first: number, values: Floats): void {
    const rows = values.length / this.#width;
    if (rows === 0) return;
    const { codes, scales } = this.#quantize(first, rows, values);
    this.#codes.write((first * codes.length) / rows, codes);
    const bytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
    this.#scales.write((first * bytes.length) / rows, bytes);
  }

  #quantize(first: number, rows: number, values: Floats): HostQuantized {
    try {
      return hostQuantize(values, [rows, this.#width], this.#format);
    } catch (error) {
      if (!(error instanceof NumericError)) throw error;
      throw new NumericError(`${this.#path}, ${this.#placeOf(first)}: ${error.message}`);
    }
  }

  /** What errors call the rows from one on. */
  #placeOf(row: number): string {
    const [, perExpert = 1] = this.#shape;
    return this.#shape.length > 2
      ? `rows of expert ${Math.floor(row / perExpert)}`
      : `rows from ${row} on`;
  }

  #outOfPlace(at: number): ConfigError {
    return new ConfigError(`${this.#path}: element ${at} does not follow the row before`, "at", at);
  }
}

function joinedFloats(first: Floats, second: Floats): Floats {
  const joined =
    first instanceof Float64Array
      ? new Float64Array(first.length + second.length)
      : new Float32Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
