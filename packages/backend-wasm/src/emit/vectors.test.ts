import { describe, expect, it } from "vitest";
import { compiled } from "../testing/compiled.ts";
import { type Kind, F32, I32 } from "./scalars.ts";
import {
  type Vector,
  F32x4,
  I16x8,
  I32x4,
  I8x16,
  bitSelect,
  loadVector,
  shuffle,
  vectorConst,
} from "./vectors.ts";

/** Where the operands are, and the result. */
const [A, B, C, OUT] = [0, 16, 32, 48];

type Lanes = Float32Array | Int32Array | Int16Array | Int8Array;
type LanesOf = { new (length: number): Lanes; from(values: Iterable<number>): Lanes };

interface Shape<V extends Vector> {
  readonly kind: Kind<V>;
  readonly lanes: LanesOf;
  readonly values: readonly number[];
}

const NUMBERS = [0, -0, 1, -1, 0.5, -2.5, 1.5, 3.75, 7e9, -7e9, 1e-40, 3e38, 100, -100];
const FLOAT: Shape<F32x4> = {
  kind: F32x4,
  lanes: Float32Array,
  values: [...NUMBERS, Infinity, -Infinity, Number.NaN],
};
const INT: Shape<I32x4> = {
  kind: I32x4,
  lanes: Int32Array,
  values: [0, 1, -1, 2, -7, 33, 65_535, 65_536, 2 ** 31 - 1, -(2 ** 31), 123_456_789, -42],
};
const SHORT: Shape<I16x8> = {
  kind: I16x8,
  lanes: Int16Array,
  values: [0, 1, -1, 2, -7, 33, 255, 256, 32_767, -32_768, 12_345, -42, 1000],
};
const BYTE: Shape<I8x16> = {
  kind: I8x16,
  lanes: Int8Array,
  values: [0, 1, -1, 2, -7, 33, 127, -128, 15, 16, 99, -42, 64, -64, 5, 6, 7],
};

/** Both operands, so that every value meets every other in some lane. */
function pairs({ lanes, values }: Shape<Vector>): [Lanes, Lanes][] {
  const width = 16 / lanes.from([]).BYTES_PER_ELEMENT;
  const take = (from: number): Lanes =>
    lanes.from(Array.from({ length: width }, (_, i) => values[(from + i) % values.length] ?? 0));
  return values.flatMap((_, shift) =>
    Array.from({ length: Math.ceil(values.length / width) }, (__, at): [Lanes, Lanes] => [
      take(at * width),
      take(at * width + shift),
    ]),
  );
}

/** Runs code over two vectors and gives the lanes of its result. */
function check<V extends Vector>(
  shape: Shape<V>,
  result: LanesOf,
  code: (a: V, b: V) => Vector,
  wanted: (a: Lanes, b: Lanes) => Iterable<number>,
): void {
  const { run, bytes } = compiled({}, (body) => {
    const [a, b] = [loadVector(shape.kind, A), loadVector(shape.kind, B)];
    body.store(OUT, code(body.let(a), body.let(b)));
  });
  for (const [a, b] of pairs(shape)) {
    bytes.set(new Uint8Array(a.buffer), A);
    bytes.set(new Uint8Array(b.buffer), B);
    run();
    const got = result.from(new (result as typeof Int8Array)(bytes.slice(OUT, OUT + 16).buffer));
    expect(got, `${[...a]} and ${[...b]}`).toEqual(result.from(wanted(a, b)));
  }
}

type Same = (a: number, b: number) => number;
const mask = (condition: boolean): number => (condition ? -1 : 0);
const limited = (a: number, low: number, high: number): number =>
  Number.isNaN(a) ? 0 : Math.trunc(Math.min(Math.max(a, low), high)) | 0;

function nearestEven(a: number): number {
  const rounded = Math.round(a);
  const even = Math.abs(a % 1) === 0.5 ? 2 * Math.round(a / 2) : rounded;
  return even === 0 && (a < 0 || Object.is(a, -0)) ? -0 : even;
}

describe("F32x4", () => {
  const arithmetic: Readonly<Record<string, [(a: F32x4, b: F32x4) => F32x4, Same]>> = {
    add: [(a, b) => a.add(b), (a, b) => a + b],
    sub: [(a, b) => a.sub(b), (a, b) => a - b],
    mul: [(a, b) => a.mul(b), (a, b) => a * b],
    div: [(a, b) => a.div(b), (a, b) => a / b],
    min: [(a, b) => a.min(b), Math.min],
    max: [(a, b) => a.max(b), Math.max],
    pmin: [(a, b) => a.pmin(b), (a, b) => (b < a ? b : a)],
    pmax: [(a, b) => a.pmax(b), (a, b) => (a < b ? b : a)],
    abs: [(a) => a.abs(), Math.abs],
    neg: [(a) => a.neg(), (a) => -a],
    sqrt: [(a) => a.sqrt(), Math.sqrt],
    ceil: [(a) => a.ceil(), Math.ceil],
    floor: [(a) => a.floor(), Math.floor],
    trunc: [(a) => a.trunc(), Math.trunc],
    nearest: [(a) => a.nearest(), nearestEven],
  };
  it.each(Object.entries(arithmetic))("%s", (_, [code, wanted]) => {
    check(FLOAT, Float32Array, code, (a, b) => a.map((value, lane) => wanted(value, b[lane] ?? 0)));
  });

  const toInts: Readonly<Record<string, [(a: F32x4, b: F32x4) => I32x4, Same]>> = {
    eq: [(a, b) => a.eq(b), (a, b) => mask(a === b)],
    ne: [(a, b) => a.ne(b), (a, b) => mask(a !== b)],
    lt: [(a, b) => a.lt(b), (a, b) => mask(a < b)],
    gt: [(a, b) => a.gt(b), (a, b) => mask(a > b)],
    le: [(a, b) => a.le(b), (a, b) => mask(a <= b)],
    ge: [(a, b) => a.ge(b), (a, b) => mask(a >= b)],
    toI32x4: [(a) => a.toI32x4(), (a) => limited(a, -(2 ** 31), 2 ** 31 - 1)],
    toU32x4: [(a) => a.toU32x4(), (a) => limited(a, 0, 2 ** 32 - 1)],
  };
  it.each(Object.entries(toInts))("%s", (_, [code, wanted]) => {
    check(FLOAT, Int32Array, code, (a, b) => [...a].map((value, lane) => wanted(value, b[lane]!)));
  });
});

describe("I32x4", () => {
  const u = (value: number): number => value >>> 0;
  const table: Readonly<Record<string, [(a: I32x4, b: I32x4) => I32x4, Same]>> = {
    add: [(a, b) => a.add(b), (a, b) => a + b],
    sub: [(a, b) => a.sub(b), (a, b) => a - b],
    mul: [(a, b) => a.mul(b), Math.imul],
    min: [(a, b) => a.min(b), Math.min],
    max: [(a, b) => a.max(b), Math.max],
    and: [(a, b) => a.and(b), (a, b) => a & b],
    andNot: [(a, b) => a.andNot(b), (a, b) => a & ~b],
    or: [(a, b) => a.or(b), (a, b) => a | b],
    xor: [(a, b) => a.xor(b), (a, b) => a ^ b],
    not: [(a) => a.not(), (a) => ~a],
    abs: [(a) => a.abs(), Math.abs],
    neg: [(a) => a.neg(), (a) => -a],
    shl: [(a) => a.shl(5), (a) => a << 5],
    shr: [(a) => a.shr(5), (a) => a >> 5],
    shrU: [(a) => a.shrU(I32.const(5)), (a) => a >>> 5],
    eq: [(a, b) => a.eq(b), (a, b) => mask(a === b)],
    ne: [(a, b) => a.ne(b), (a, b) => mask(a !== b)],
    lt: [(a, b) => a.lt(b), (a, b) => mask(a < b)],
    ltU: [(a, b) => a.ltU(b), (a, b) => mask(u(a) < u(b))],
    gt: [(a, b) => a.gt(b), (a, b) => mask(a > b)],
    gtU: [(a, b) => a.gtU(b), (a, b) => mask(u(a) > u(b))],
    le: [(a, b) => a.le(b), (a, b) => mask(a <= b)],
    leU: [(a, b) => a.leU(b), (a, b) => mask(u(a) <= u(b))],
    ge: [(a, b) => a.ge(b), (a, b) => mask(a >= b)],
    geU: [(a, b) => a.geU(b), (a, b) => mask(u(a) >= u(b))],
    chooseInt: [(a, b) => a.lt(b).chooseInt(a, b), Math.min],
  };
  it.each(Object.entries(table))("%s", (_, [code, wanted]) => {
    check(INT, Int32Array, code, (a, b) => a.map((value, lane) => wanted(value, b[lane] ?? 0)));
  });

  it("toF32x4, toF32x4U and choose", () => {
    check(
      INT,
      Float32Array,
      (a) => a.toF32x4(),
      (a) => a,
    );
    check(
      INT,
      Float32Array,
      (a) => a.toF32x4U(),
      (a) => Uint32Array.from(a),
    );
    const larger = (a: I32x4, b: I32x4): F32x4 => a.gt(b).choose(a.toF32x4(), b.toF32x4());
    check(INT, Float32Array, larger, (a, b) => [...a].map((value, i) => Math.max(value, b[i]!)));
  });

  it("bits of all lanes", () => {
    const found = (code: (a: I32x4) => I32, lanes: readonly number[]): number => {
      const { run, view } = compiled({ result: "i32" }, (body) =>
        body.returnValue(code(I32x4.load(A))),
      );
      for (const [lane, value] of lanes.entries()) view.setInt32(A + lane * 4, value, true);
      return run();
    };
    expect(found((a) => a.anyTrue(), [0, 0, 0, 0])).toBe(0);
    expect(found((a) => a.anyTrue(), [0, 0, 4, 0])).toBe(1);
    expect(found((a) => a.allTrue(), [1, 2, 0, 4])).toBe(0);
    expect(found((a) => a.allTrue(), [1, 2, 3, 4])).toBe(1);
    expect(found((a) => a.bitmask(), [-1, 5, -7, 0])).toBe(0b0101);
  });
});

describe("I16x8", () => {
  const table: Readonly<Record<string, [(a: I16x8, b: I16x8) => I16x8, Same]>> = {
    add: [(a, b) => a.add(b), (a, b) => a + b],
    sub: [(a, b) => a.sub(b), (a, b) => a - b],
    mul: [(a, b) => a.mul(b), Math.imul],
    and: [(a, b) => a.and(b), (a, b) => a & b],
    shl: [(a) => a.shl(3), (a) => a << 3],
    shr: [(a) => a.shr(3), (a) => a >> 3],
    shrU: [(a) => a.shrU(3), (a) => (a & 0xffff) >> 3],
  };
  it.each(Object.entries(table))("%s", (_, [code, wanted]) => {
    check(SHORT, Int16Array, code, (a, b) => a.map((value, lane) => wanted(value, b[lane] ?? 0)));
  });

  it("dot and extensions", () => {
    const dot = (a: Lanes, b: Lanes): number[] =>
      [0, 2, 4, 6].map((i) => (a[i] ?? 0) * (b[i] ?? 0) + (a[i + 1] ?? 0) * (b[i + 1] ?? 0));
    check(SHORT, Int32Array, (a, b) => a.dot(b), dot);
    const unsigned = (a: Lanes): Uint16Array => Uint16Array.from(a);
    check(
      SHORT,
      Int32Array,
      (a) => a.extendLow(),
      (a) => a.slice(0, 4),
    );
    check(
      SHORT,
      Int32Array,
      (a) => a.extendHigh(),
      (a) => a.slice(4),
    );
    check(
      SHORT,
      Int32Array,
      (a) => a.extendLowU(),
      (a) => unsigned(a).slice(0, 4),
    );
    check(
      SHORT,
      Int32Array,
      (a) => a.extendHighU(),
      (a) => unsigned(a).slice(4),
    );
  });
});

describe("I8x16", () => {
  const table: Readonly<Record<string, [(a: I8x16, b: I8x16) => I8x16, Same]>> = {
    add: [(a, b) => a.add(b), (a, b) => a + b],
    sub: [(a, b) => a.sub(b), (a, b) => a - b],
    and: [(a, b) => a.and(b), (a, b) => a & b],
    or: [(a, b) => a.or(b), (a, b) => a | b],
    xor: [(a, b) => a.xor(b), (a, b) => a ^ b],
    shl: [(a) => a.shl(3), (a) => a << 3],
    shr: [(a) => a.shr(3), (a) => a >> 3],
    shrU: [(a) => a.shrU(3), (a) => (a & 0xff) >> 3],
  };
  it.each(Object.entries(table))("%s", (_, [code, wanted]) => {
    check(BYTE, Int8Array, code, (a, b) => a.map((value, lane) => wanted(value, b[lane] ?? 0)));
  });

  it("swizzle and extensions", () => {
    check(
      BYTE,
      Int8Array,
      (a, b) => a.swizzle(b),
      (a, b) => b.map((at) => a[at & 255] ?? 0),
    );
    const unsigned = (a: Lanes): Uint8Array => Uint8Array.from(a);
    check(
      BYTE,
      Int16Array,
      (a) => a.extendLow(),
      (a) => a.slice(0, 8),
    );
    check(
      BYTE,
      Int16Array,
      (a) => a.extendHigh(),
      (a) => a.slice(8),
    );
    check(
      BYTE,
      Int16Array,
      (a) => a.extendLowU(),
      (a) => unsigned(a).slice(0, 8),
    );
    check(
      BYTE,
      Int16Array,
      (a) => a.extendHighU(),
      (a) => unsigned(a).slice(8),
    );
  });
});

/** Code that needs no operand, over memory that counts its bytes from 0. */
function counted(code: () => Vector): number[] {
  const { run, bytes } = compiled({}, (body) => body.store(OUT, code()));
  for (let i = 0; i < 32; i++) bytes[i] = i + 120;
  run();
  return Array.from(bytes.subarray(OUT, OUT + 16));
}
const bytesOf = (lanes: Lanes): number[] => [...new Uint8Array(lanes.buffer)];
const memory = Array.from({ length: 32 }, (_, index) => index + 120);

describe("vectors", () => {
  it("load", () => {
    expect(counted(() => F32x4.load(1, 2))).toEqual(memory.slice(3, 19));
    expect(counted(() => I32x4.load(I32.const(4)))).toEqual(memory.slice(4, 20));
    expect(counted(() => I16x8.load(16))).toEqual(memory.slice(16, 32));
    expect(counted(() => I8x16.load(0, 5))).toEqual(memory.slice(5, 21));
    const four = memory.slice(3, 7);
    expect(counted(() => F32x4.loadSplat(3))).toEqual([four, four, four, four].flat());
    expect(counted(() => I8x16.load32Splat(1, 2))).toEqual([four, four, four, four].flat());
    const eight = memory.slice(2, 10);
    expect(counted(() => I8x16.load64Splat(2))).toEqual([...eight, ...eight]);
    // From 128 on bytes are negative.
    const from = memory.slice(4, 12);
    expect(counted(() => I16x8.load8x8(4))).toEqual(bytesOf(Int16Array.from(Int8Array.from(from))));
    expect(counted(() => I16x8.load8x8U(4))).toEqual(bytesOf(Int16Array.from(from)));
  });

  it("are made of one value", () => {
    expect(counted(() => F32x4.const(-1.5))).toEqual(bytesOf(Float32Array.of(...fill(4, -1.5))));
    expect(counted(() => F32x4.splat(F32.const(0.1)))).toEqual(
      bytesOf(Float32Array.of(...fill(4, 0.1))),
    );
    expect(counted(() => I32x4.const(-2))).toEqual(bytesOf(Int32Array.of(...fill(4, -2))));
    expect(counted(() => I32x4.splat(7))).toEqual(bytesOf(Int32Array.of(...fill(4, 7))));
    expect(counted(() => I16x8.splat(-3))).toEqual(bytesOf(Int16Array.of(...fill(8, -3))));
    expect(counted(() => I8x16.splat(-3))).toEqual(bytesOf(Int8Array.of(...fill(16, -3))));
    const all = memory.slice(0, 16);
    expect(counted(() => vectorConst(I8x16, all))).toEqual(all);
  });

  it("give and take single lanes", () => {
    for (const lane of [0, 1, 2, 3]) {
      const { run, view } = compiled({ result: "f32" }, (body) => {
        body.store(OUT, F32x4.load(A).withLane(lane, F32x4.load(B).lane(3 - lane)));
        body.store(C, I32x4.load(A).withLane(lane, I32x4.load(B).lane(3 - lane)));
        body.returnValue(F32x4.load(OUT).lane(lane));
      });
      for (let i = 0; i < 8; i++) view.setFloat32(i * 4, i + 0.5, true);
      expect(run()).toBe(7.5 - lane);
      const wanted = [0.5, 1.5, 2.5, 3.5].with(lane, 7.5 - lane);
      for (const at of [OUT, C]) {
        expect([0, 4, 8, 12].map((offset) => view.getFloat32(at + offset, true))).toEqual(wanted);
      }
    }
  });

  it("shuffle, choose bits and change their view", () => {
    const places = [31, 0, 16, 15, 1, 2, 3, 4, 20, 21, 22, 23, 8, 8, 8, 8];
    expect(counted(() => shuffle(I8x16.load(A), I8x16.load(B), places, I8x16))).toEqual(
      places.map((place) => memory[place]),
    );
    const bits = I32x4.const(0x00ff_ff00);
    expect(counted(() => bitSelect(bits, I8x16.load(A), I8x16.load(B), I8x16))).toEqual(
      Array.from({ length: 16 }, (_, i) => memory[[1, 2].includes(i % 4) ? i : i + 16]),
    );
    expect(counted(() => F32x4.load(A).as(I8x16).add(I8x16.splat(1)))).toEqual(memory.slice(1, 17));
  });
});

function fill(length: number, value: number): number[] {
  return Array.from({ length }, () => value);
}
