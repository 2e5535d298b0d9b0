/** Bytes of WebAssembly code, nested as they were put together; equal parts may be shared. */
export type Code = readonly (number | Code)[];

/** Bytes put one behind the other. */
export class Bytes {
  #bytes = new Uint8Array(4096);
  #length = 0;

  /** Puts nested code, in order; for vector constants, what `replace` gives. */
  put(code: Code, replace?: (constant: VectorConstant) => Code): void {
    for (let i = 0; i < code.length; i++) {
      const part = code[i] ?? 0;
      if (typeof part === "number") this.#byte(part);
      else if (replace !== undefined && part instanceof VectorConstant) this.put(replace(part));
      else this.put(part, replace);
    }
  }

  /** Puts bytes as they are. */
  putBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Puts what `write` puts, with its length before it. */
  sized(write: () => void): void {
    const from = this.#length;
    write();
    const size = unsigned(this.#length - from);
    // Makes room, and moves what came behind.
    this.put(size);
    this.#bytes.copyWithin(from + size.length, from, this.#length - size.length);
    this.#bytes.set(size, from);
  }

  /** A copy of all. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #reserve(more: number): void {
    const wanted = this.#length + more;
    if (wanted <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(wanted, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** An unsigned integer below 2^32 in LEB128. */
export function unsigned(value: number): number[] {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 32) {
    throw new RangeError(`${value} is not an unsigned integer of 32 bits`);
  }
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 128 : low);
  } while (rest > 0);
  return bytes;
}

/** The 32 bits of an integer in signed LEB128; unsigned addresses may be given too. */
export function signed(value: number): number[] {
  if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32) {
    throw new RangeError(`${value} is not an integer of 32 bits`);
  }
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 127;
    rest >>= 7;
    const done = (rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0);
    bytes.push(done ? low : low | 128);
    if (done) return bytes;
  }
}

/** The 4 bytes of a float. */
export function float32(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

/** The 8 bytes of a float. */
export function float64(value: number): number[] {
  return [...new Uint8Array(Float64Array.of(value).buffer)];
}

/** A UTF-8 string with its length before it. */
export function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...unsigned(bytes.length), ...bytes];
}

/** Like {@link unsigned}, without a list of its own where one byte does. */
export function immediate(value: number): number | Code {
  return value >= 0 && value < 128 && Number.isInteger(value) ? value : unsigned(value);
}

/** Instructions of the SIMD set by their opcodes. */
const SIMD: readonly Code[] = /*#__PURE__*/ Array.from({ length: 0x120 }, (_, opcode) => [
  0xfd,
  ...unsigned(opcode),
]);

/** An instruction of the SIMD set. */
export function simd(opcode: number): Code {
  const code = SIMD[opcode];
  if (code === undefined) throw new RangeError(`there is no SIMD instruction ${opcode}`);
  return code;
}

/** Code of 16 constant bytes, told apart by its class. */
export class VectorConstant extends Array<number | Code> {
  readonly bytes: readonly number[];

  constructor(bytes: readonly number[]) {
    super();
    this.bytes = bytes;
    this.push(simd(0x0c), bytes);
  }
}
