import type { SafetensorsDtype } from "./dtype.ts";

/** What a file's header says about one tensor. */
export interface TensorInfo {
  /** Its name in the file. */
  readonly name: string;
  /** Element type in the file. */
  readonly dtype: SafetensorsDtype;
  /** Sizes of its dimensions, outermost first; rows lie one after another. */
  readonly shape: readonly number[];
  /** Byte offset of its first element from the start of the file. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly byteLength: number;
}

/** A tensor's bytes as they lie in the file: little-endian, row-major. May be a view: only read it. */
export interface TensorView {
  /** Its name in the file. */
  readonly name: string;
  /** Element type of the bytes. */
  readonly dtype: SafetensorsDtype;
  /** Shape of what was read. */
  readonly shape: readonly number[];
  /** The elements. */
  readonly bytes: Uint8Array;
}

/** Named tensors that can be read whole or in part: a file or a folder of shards. */
export interface TensorReader {
  /** What there is, by name, in the order of the bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Reads a whole tensor. Throws `ConfigError` for a name that is not there. */
  read(name: string): Promise<TensorView>;
  /**
   * Reads the rows `start` up to `end` along axis 0. Throws `ShapeError` for rows outside the
   * tensor and `ConfigError` for a name that is not there.
   */
  readRows(name: string, start: number, end: number): Promise<TensorView>;
  /**
   * Fills `target` with a tensor's bytes from `byteStart` on, counted from its first element.
   * Throws `ShapeError` where they run past its end and `ConfigError` for a name that is not there.
   */
  readInto(name: string, byteStart: number, target: Uint8Array): Promise<void>;
}

/** The metadata of a file: text by name, such as `{ format: "pt" }`. */
export type SafetensorsMetadata = Readonly<Record<string, string>>;
