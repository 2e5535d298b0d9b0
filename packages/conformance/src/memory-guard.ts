import {
  type Backend,
  type DType,
  type Tensor,
  OutOfMemoryError,
  bytesPerElement,
} from "@moiety/core";
import { CaseFailure } from "./failure.ts";

/** Bytes that one round of dirtying may write together. */
const MOST_BYTES = 16 * 2 ** 20;
/** Sizes that are dirtied in any case: a word, a cache line, a page, a megabyte. */
const USUAL_SIZES: readonly number[] = [4, 64, 256, 4096, 65_536, 2 ** 20];
/** A quiet NaN with a payload, a huge float, a negative integer and a large index. */
const GARBAGE: readonly number[] = [0x7fc0dead, 0x7f7fffff, 0xfffffff1, 0x7ffffff0];
const CANARY_WORDS = 67;

/**
 * Fills memory that a later output may get with garbage and frees it, so that a kernel which reads
 * what nobody wrote shows. Stops where the backend's memory is full.
 */
export function dirtyMemory(backend: Backend, sizes: readonly number[]): void {
  const limit = backend.capabilities.limits.bufferBytes ?? MOST_BYTES;
  const tensors: Tensor[] = [];
  let written = 0;
  try {
    for (const [index, size] of [...new Set([...sizes, ...USUAL_SIZES])].entries()) {
      for (let copy = 0; copy < 2; copy++) {
        if (size === 0 || size > limit || written + size > MOST_BYTES) continue;
        written += size;
        const word = GARBAGE[(index + copy) % GARBAGE.length] ?? 0;
        const tensor = uploadWords(backend, size, word);
        if (tensor !== undefined) tensors.push(tensor);
      }
    }
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}

/** Tensors of known content that stay alive between others; nobody may write to them. */
export class Canaries {
  readonly #backend: Backend;
  readonly #tensors: { readonly tensor: Tensor; readonly word: number }[] = [];

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Puts one more canary where the backend allocates next. */
  add(): void {
    const word = (0xca0a0000 + this.#tensors.length) >>> 0;
    const tensor = uploadWords(this.#backend, CANARY_WORDS * 4, word);
    if (tensor !== undefined) this.#tensors.push({ tensor, word });
  }

  /** Reads them all. @throws CaseFailure where one was written over */
  async check(): Promise<void> {
    const contents = await Promise.all(this.#tensors.map(({ tensor }) => tensor.read()));
    for (const [index, { word }] of this.#tensors.entries()) {
      const data = contents[index];
      if (data === undefined) continue;
      const words = new Uint32Array(data.buffer, data.byteOffset, CANARY_WORDS);
      const at = words.findIndex((found) => found !== word);
      if (at < 0) continue;
      throw new CaseFailure(
        `a canary was written over: its word ${at} is 0x${(words[at] ?? 0).toString(16)}, so ` +
          "something wrote outside its own tensor",
      );
    }
  }

  /** Frees them. */
  dispose(): void {
    for (const { tensor } of this.#tensors) tensor.dispose();
    this.#tensors.length = 0;
  }
}

/** A tensor of `size` bytes (rounded up to a whole element) that repeats one word. */
function uploadWords(backend: Backend, size: number, word: number): Tensor | undefined {
  const dtype = dtypeFor(backend.capabilities.dtypes, size);
  if (dtype === undefined) return undefined;
  const length = Math.ceil(size / bytesPerElement(dtype));
  const words = new Uint32Array(Math.ceil((length * bytesPerElement(dtype)) / 4)).fill(word);
  const upload = backend.upload({ shape: [length], dtype });
  upload.write(0, new Uint8Array(words.buffer, 0, length * bytesPerElement(dtype)));
  return upload.finish();
}

function dtypeFor(dtypes: readonly DType[], size: number): DType | undefined {
  const order: readonly DType[] =
    size % 4 === 0 ? ["u32", "i32", "f32", "u8"] : ["u8", "u32", "i32", "f32"];
  return order.find((dtype) => dtypes.includes(dtype));
}
