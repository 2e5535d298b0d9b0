import { type Code, immediate, simd } from "./code.ts";
import { type Int, type Kind, type TypeName, I32, type Value, intCode } from "./scalars.ts";
import { type I8x16, F32x4, I16x8 } from "./vectors.ts";

/** Which instructions a module may use beyond SIMD128. */
export interface Instructions {
  /** `relaxed_madd` for products that are added: one rounding or two, as the machine has it. */
  readonly fused: boolean;
  /** The relaxed products of bytes, added in pairs. */
  readonly relaxedDot: boolean;
}

/** A function of the module, to be called. */
export interface Callee {
  readonly index: number;
}

/** A function that returns nothing and that several bodies call: it is added at its first use. */
export interface Subroutine {
  readonly name: string;
  readonly parameters: readonly TypeName[];
  /** Type of the value that it returns, if it does. */
  readonly result?: TypeName | undefined;
  write(body: Body): void;
}

/** Instructions that store a value whole. */
const STORES: Readonly<Record<TypeName, Code>> = {
  i32: [0x36],
  i64: [0x37],
  f32: [0x38],
  f64: [0x39],
  v128: [0xfd, 0x0b],
};

/** The body of a function: statements are added in the order in which they shall run. */
export class Body {
  readonly instructions: Instructions;
  readonly #parameters: readonly TypeName[];
  readonly #add: ((subroutine: Subroutine) => Callee) | undefined;
  readonly #locals: TypeName[] = [];
  readonly #code: (number | Code)[] = [];

  /** `add` finds a subroutine in the module, or adds it. */
  constructor(
    parameters: readonly TypeName[],
    instructions: Instructions,
    add?: (subroutine: Subroutine) => Callee,
  ) {
    this.#parameters = parameters;
    this.instructions = instructions;
    this.#add = add;
  }

  /** Types of the locals behind the parameters. */
  get locals(): readonly TypeName[] {
    return this.#locals;
  }

  get code(): Code {
    return this.#code;
  }

  /** A parameter of the function. */
  parameter<V extends Value>(kind: Kind<V>, index: number): V {
    return new kind([0x20, immediate(index)], index);
  }

  /** Computes a value once and keeps it in a local, which {@link set} may change. */
  let<V extends Value>(value: V): V {
    const slot = this.#parameters.length + this.#locals.length;
    this.#locals.push(value.type);
    this.#code.push(value.code, 0x21, immediate(slot));
    const kind = value.constructor as Kind<V>;
    return new kind([0x20, immediate(slot)], slot);
  }

  /** Like {@link let}, of a number. */
  int(value: Int): I32 {
    return this.let(typeof value === "number" ? I32.const(value) : value);
  }

  /** Changes a local. */
  set<V extends Value>(local: V, value: V): void {
    if (local.slot === undefined) throw new TypeError("only what `let` gave can be set");
    this.#code.push(value.code, 0x21, immediate(local.slot));
  }

  /** Adds to a local. */
  increment(local: I32, by: Int): void {
    this.set(local, local.add(by));
  }

  /** Stores any value whole: 4, 8 or 16 bytes. */
  store(address: Int, value: Value, offset = 0): void {
    this.#store(STORES[value.type], address, value, offset);
  }

  /** Stores the low byte. */
  store8(address: Int, value: I32, offset = 0): void {
    this.#store([0x3a], address, value, offset);
  }

  /** Stores the low two bytes. */
  store16(address: Int, value: I32, offset = 0): void {
    this.#store([0x3b], address, value, offset);
  }

  /** Stores the low 8 bytes of a vector. */
  storeHalf(address: Int, value: Value, offset = 0): void {
    this.#code.push(intCode(address), value.code, simd(0x5b), 0, immediate(offset), 0);
  }

  /** Copies bytes; the ranges may overlap. */
  copy(to: Int, from: Int, bytes: Int): void {
    this.#code.push(intCode(to), intCode(from), intCode(bytes), [0xfc, 0x0a, 0, 0]);
  }

  /** Fills bytes with one value. */
  fillBytes(to: Int, byte: Int, bytes: Int): void {
    this.#code.push(intCode(to), intCode(byte), intCode(bytes), [0xfc, 0x0b, 0]);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#code.push(condition.code, 0x04, 0x40);
    then();
    if (otherwise) {
      this.#code.push(0x05);
      otherwise();
    }
    this.#code.push(0x0b);
  }

  /** `body` while `condition` holds, which is looked at first. */
  while(condition: () => I32, body: () => void): void {
    this.#code.push(0x02, 0x40, 0x03, 0x40);
    this.#code.push(condition().not().code, 0x0d, 1);
    body();
    this.#code.push(0x0c, 0, 0x0b, 0x0b);
  }

  /** `body`, and again while the condition that it returns holds: the fastest loop. */
  repeat(body: () => I32): void {
    this.#code.push(0x03, 0x40);
    const again = body();
    this.#code.push(again.code, 0x0d, 0, 0x0b);
  }

  /** Counts from `from` to below `to` by `step`; all unsigned, so `to` must not be negative. */
  for(from: Int, to: Int, step: Int, body: (counter: I32) => void): void {
    const counter = this.int(from);
    const end = typeof to === "number" || to.slot !== undefined ? to : this.let(to);
    this.while(
      () => counter.ltU(end),
      () => {
        body(counter);
        this.increment(counter, step);
      },
    );
  }

  /** Leaves the function. */
  return(): void {
    this.#code.push(0x0f);
  }

  /** Leaves the function with a value. */
  returnValue(value: Value): void {
    this.#code.push(value.code, 0x0f);
  }

  /** Ends the program: what follows is never reached. */
  trap(): void {
    this.#code.push(0x00);
  }

  /** Calls a function that returns nothing. */
  call(callee: Callee, args: readonly Value[]): void {
    this.#code.push(
      args.map(({ code }) => code),
      0x10,
      immediate(callee.index),
    );
  }

  /** Calls a subroutine, which is added to the module if it is not there. */
  callSubroutine(subroutine: Subroutine, args: readonly Value[]): void {
    if (this.#add === undefined) throw new TypeError("this body belongs to no module");
    this.call(this.#add(subroutine), args);
  }

  /** Like {@link callSubroutine}, of one that returns a value. */
  resultOf<V extends Value>(kind: Kind<V>, subroutine: Subroutine, args: readonly Value[]): V {
    if (this.#add === undefined) throw new TypeError("this body belongs to no module");
    return this.callFor(kind, this.#add(subroutine), args);
  }

  /** A call of a function that returns a value. */
  callFor<V extends Value>(kind: Kind<V>, callee: Callee, args: readonly Value[]): V {
    return new kind([args.map(({ code }) => code), 0x10, immediate(callee.index)]);
  }

  /** Calls the function of the table at `index`, whose type is that of number `type`. */
  callTable(type: number, index: I32, args: readonly Value[]): void {
    this.#code.push(
      args.map(({ code }) => code),
      index.code,
      0x11,
      immediate(type),
      0,
    );
  }

  /** `a · b + c`, in one rounding where the module's instructions have it. */
  madd(a: F32x4, b: F32x4, c: F32x4): F32x4 {
    if (!this.instructions.fused) return a.mul(b).add(c);
    return new F32x4([a.code, b.code, c.code, simd(0x105)]);
  }

  /** `c − a · b`, in one rounding where the module's instructions have it. */
  nmadd(a: F32x4, b: F32x4, c: F32x4): F32x4 {
    if (!this.instructions.fused) return c.sub(a.mul(b));
    return new F32x4([a.code, b.code, c.code, simd(0x106)]);
  }

  /**
   * Sums of the products of neighbours: signed bytes of `a`, and of `b`, which must be 0 … 127. Sums
   * must fit 16 bits. Exact, with and without the relaxed instruction.
   */
  dotPairs(a: I8x16, b: I8x16): I16x8 {
    if (this.instructions.relaxedDot) return new I16x8([a.code, b.code, simd(0x112)]);
    const left = this.#once(a).as(I16x8);
    const right = this.#once(b).as(I16x8);
    const even = left
      .shl(8)
      .shr(8)
      .mul(right.and(I16x8.splat(0xff)));
    return even.add(left.shr(8).mul(right.shrU(8)));
  }

  /** Adds to a word of memory and gives what it held before. */
  atomicAdd(address: Int, value: Int, offset = 0): I32 {
    return new I32([intCode(address), intCode(value), 0xfe, 0x1e, 2, immediate(offset)]);
  }

  /** Sets bits of a word of memory and gives what it held before. */
  atomicOr(address: Int, value: Int, offset = 0): I32 {
    return new I32([intCode(address), intCode(value), 0xfe, 0x33, 2, immediate(offset)]);
  }

  /** A word of memory, in one order for all threads. */
  atomicLoad(address: Int, offset = 0): I32 {
    return new I32([intCode(address), 0xfe, 0x10, 2, immediate(offset)]);
  }

  /** Sets a word of memory, in one order for all threads. */
  atomicStore(address: Int, value: Int, offset = 0): void {
    this.#code.push(intCode(address), intCode(value), 0xfe, 0x17, 2, immediate(offset));
  }

  /** Sleeps while a word of shared memory is `expected`; 0 woken, 1 another value. */
  atomicWait(address: Int, expected: Int, offset = 0): I32 {
    const forever = [0x42, 0x7f];
    return new I32([
      intCode(address),
      intCode(expected),
      forever,
      0xfe,
      0x01,
      2,
      immediate(offset),
    ]);
  }

  /** Wakes so many that sleep on a word; gives their number. */
  atomicNotify(address: Int, most: Int, offset = 0): I32 {
    return new I32([intCode(address), intCode(most), 0xfe, 0x00, 2, immediate(offset)]);
  }

  /** Runs code for its effects alone. */
  drop(value: Value): void {
    this.#code.push(value.code, 0x1a);
  }

  /** The value as a local, which it may be already. */
  #once<V extends Value>(value: V): V {
    return value.slot === undefined ? this.let(value) : value;
  }

  #store(opcode: Code, address: Int, value: Value, offset: number): void {
    this.#code.push(intCode(address), value.code, opcode, 0, immediate(offset));
  }
}
