import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";

/** Types of tensors in GGUF files: what `ggml_type` calls them. */
export type GgufType = "F32" | "F16" | "Q4_0" | "Q8_0";

/** A value of a file's metadata, of the type that its reader expects. */
export type GgufValue =
  | { readonly text: string }
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly texts: readonly string[] };

/** A tensor whose bytes come in pieces, so that it never stands whole. */
export interface GgufTensor {
  readonly name: string;
  /** As of `[out, in]`: the last axis is the fastest. The file names it first. */
  readonly shape: readonly number[];
  readonly type: GgufType;
  /** Its bytes, in order. */
  pieces(): Iterable<Uint8Array>;
}

/** What a file holds. */
export interface GgufContent {
  readonly metadata: Readonly<Record<string, GgufValue>>;
  readonly tensors: readonly GgufTensor[];
}

/** `ggml_type`, and how many values a block has and how many bytes it takes. */
export const ggufTypes: Readonly<
  Record<GgufType, { readonly id: number; readonly values: number; readonly bytes: number }>
> = {
  F32: { id: 0, values: 1, bytes: 4 },
  F16: { id: 1, values: 1, bytes: 2 },
  Q4_0: { id: 2, values: 32, bytes: 18 },
  Q8_0: { id: 8, values: 32, bytes: 34 },
};

const MAGIC = 0x46554747;
const VERSION = 3;
/** Where tensors may begin, unless the metadata says otherwise. */
const ALIGNMENT = 32;
/** Types of metadata: `gguf_metadata_value_type`. */
const [UINT32, FLOAT32, STRING, ARRAY] = [4, 6, 8, 9];

/** Bytes that values of a shape take. @throws Error where rows do not hold whole blocks */
export function ggufBytes(shape: readonly number[], type: GgufType): number {
  const { values, bytes } = ggufTypes[type];
  if ((shape.at(-1) ?? 0) % values !== 0) {
    throw new Error(`rows of ${shape.at(-1)} values do not hold whole blocks of ${type}`);
  }
  return (shape.reduce((product, size) => product * size, 1) / values) * bytes;
}

/**
 * Writes a GGUF file, version 3 (ggml's `docs/gguf.md`), piece by piece, beside the file first.
 *
 * @throws Error where a tensor's pieces are not as many bytes as its shape and type take
 */
export function writeGguf(file: string, content: GgufContent): void {
  const unfinished = `${file}.unfinished`;
  try {
    const descriptor = openSync(unfinished, "w");
    try {
      let position = write(descriptor, ggufHeader(content));
      for (const tensor of content.tensors) {
        position += write(descriptor, new Uint8Array(padding(position)));
        const start = position;
        for (const piece of tensor.pieces()) position += write(descriptor, piece);
        const wanted = ggufBytes(tensor.shape, tensor.type);
        if (position - start === wanted) continue;
        throw new Error(`${tensor.name} has ${position - start} bytes instead of ${wanted}`);
      }
    } finally {
      closeSync(descriptor);
    }
    renameSync(unfinished, file);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** What stands before the tensors' bytes, filled up to where the first begins. */
export function ggufHeader({ metadata, tensors }: GgufContent): Uint8Array {
  const bytes = new LittleBytes();
  bytes.u32(MAGIC);
  bytes.u32(VERSION);
  bytes.u64(tensors.length);
  bytes.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    bytes.text(key);
    putValue(bytes, value);
  }
  let offset = 0;
  for (const { name, shape, type } of tensors) {
    bytes.text(name);
    bytes.u32(shape.length);
    for (const size of shape.toReversed()) bytes.u64(size);
    bytes.u32(ggufTypes[type].id);
    bytes.u64(offset);
    offset += ggufBytes(shape, type);
    offset += padding(offset);
  }
  const whole = bytes.all();
  const padded = new Uint8Array(whole.length + padding(whole.length));
  padded.set(whole);
  return padded;
}

function putValue(bytes: LittleBytes, value: GgufValue): void {
  if ("text" in value) {
    bytes.u32(STRING);
    bytes.text(value.text);
  } else if ("u32" in value) {
    bytes.u32(UINT32);
    bytes.u32(value.u32);
  } else if ("f32" in value) {
    bytes.u32(FLOAT32);
    bytes.f32(value.f32);
  } else {
    bytes.u32(ARRAY);
    bytes.u32(STRING);
    bytes.u64(value.texts.length);
    for (const text of value.texts) bytes.text(text);
  }
}

/** Bytes that are added one after another, lowest first. */
class LittleBytes {
  readonly #parts: Buffer[] = [];

  u32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.#parts.push(part);
  }

  f32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeFloatLE(value);
    this.#parts.push(part);
  }

  u64(value: number): void {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt(value));
    this.#parts.push(part);
  }

  text(value: string): void {
    const part = Buffer.from(value, "utf8");
    this.u64(part.length);
    this.#parts.push(part);
  }

  all(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

/** Bytes until a tensor may begin. */
function padding(position: number): number {
  return (ALIGNMENT - (position % ALIGNMENT)) % ALIGNMENT;
}

function write(descriptor: number, bytes: Uint8Array): number {
  let written = 0;
  while (written < bytes.length) written += writeSync(descriptor, bytes, written);
  return written;
}
