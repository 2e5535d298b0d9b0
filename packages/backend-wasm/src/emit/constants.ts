import { type Code, type VectorConstant, immediate } from "./code.ts";

/**
 * The vector constants of a function, which become locals that are set where it begins. Engines make a
 * constant anew wherever it stands, which takes longer than most of what is done with it. All zeros and
 * all ones stay: each is one instruction.
 */
export class Constants {
  readonly #first: number;
  readonly #locals = new Map<string, Code>();
  readonly #prologue: Code[] = [];

  /** Their locals begin at number `first`. */
  constructor(first: number) {
    this.#first = first;
  }

  /** How many locals they need. */
  get count(): number {
    return this.#locals.size;
  }

  /** Sets the locals. */
  get prologue(): Code {
    return this.#prologue;
  }

  /** What is put where a constant stands. */
  codeOf(constant: VectorConstant): Code {
    const { bytes } = constant;
    if (bytes.every((byte) => byte === 0) || bytes.every((byte) => byte === 255)) return constant;
    const key = bytes.join();
    const known = this.#locals.get(key);
    if (known !== undefined) return known;
    const slot = immediate(this.#first + this.count);
    this.#prologue.push([constant, 0x21, slot]);
    const code = [0x20, slot];
    this.#locals.set(key, code);
    return code;
  }
}
