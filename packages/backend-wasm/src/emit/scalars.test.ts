import { describe, expect, it } from "vitest";
import { compiled } from "../testing/compiled.ts";
import { type Kind, F32, F64, I32, type Value } from "./scalars.ts";

type Binary = Readonly<Record<string, (a: number, b: number) => number>>;
type Unary = Readonly<Record<string, (a: number) => number>>;

const INTS = [0, 1, -1, 2, 7, -7, 31, 32, 33, 255, 65_536, 2 ** 31 - 1, -(2 ** 31), -123_456];
const FLOATS = [0, -0, 1, -1, 0.5, -2.5, 1.5, 3.75, 2 ** 31, -(2 ** 31), 2 ** 33, 1e-40, 3e38];
const SPECIAL = [...FLOATS, Infinity, -Infinity, Number.NaN];
const flag = (condition: boolean): number => (condition ? 1 : 0);
const { fround } = Math;

const INT_BINARY = {
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: (a, b) => Math.imul(a, b),
  div: (a, b) => (a / b) | 0,
  divU: (a, b) => ((a >>> 0) / (b >>> 0)) | 0,
  rem: (a, b) => (a % b) | 0,
  remU: (a, b) => ((a >>> 0) % (b >>> 0)) | 0,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr: (a, b) => a >> b,
  shrU: (a, b) => (a >>> b) | 0,
  rotl: (a, b) => (a << (b & 31)) | ((a >>> 1) >>> (31 - (b & 31))) | 0,
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  lt: (a, b) => flag(a < b),
  ltU: (a, b) => flag(a >>> 0 < b >>> 0),
  gt: (a, b) => flag(a > b),
  gtU: (a, b) => flag(a >>> 0 > b >>> 0),
  le: (a, b) => flag(a <= b),
  leU: (a, b) => flag(a >>> 0 <= b >>> 0),
  ge: (a, b) => flag(a >= b),
  geU: (a, b) => flag(a >>> 0 >= b >>> 0),
} as const satisfies Binary;

/** Where the engine traps instead of giving a value. */
function traps(name: string, a: number, b: number): boolean {
  if (!/^(div|rem)U?$/.test(name)) return false;
  return b === 0 || (name === "div" && a === -(2 ** 31) && b === -1);
}

const INT_UNARY = {
  not: (a) => flag(a === 0),
  clz: (a) => Math.clz32(a),
  ctz: (a) => (a === 0 ? 32 : 31 - Math.clz32(a & -a)),
  popcount: (a) => [...(a >>> 0).toString(2)].filter((bit) => bit === "1").length,
  toF32: (a) => fround(a),
  toF32U: (a) => fround(a >>> 0),
  toF64: (a) => a,
  toF64U: (a) => a >>> 0,
  asF32: (a) => new Float32Array(Int32Array.of(a).buffer)[0] ?? 0,
} as const satisfies Unary;

const FLOAT_BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
} as const satisfies Binary;

const COMPARISONS = {
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  lt: (a, b) => flag(a < b),
  gt: (a, b) => flag(a > b),
  le: (a, b) => flag(a <= b),
  ge: (a, b) => flag(a >= b),
} as const satisfies Binary;

const negative = (a: number): boolean => Object.is(a, -0) || a < 0;

function nearestEven(a: number): number {
  if (!Number.isFinite(a) || Math.abs(a) >= 2 ** 52) return a;
  const below = Math.floor(a);
  const rest = a - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  const rounded = up ? below + 1 : below;
  return rounded === 0 && negative(a) ? -0 : rounded;
}

const FLOAT_UNARY = {
  abs: Math.abs,
  neg: (a) => -a,
  floor: Math.floor,
  trunc: Math.trunc,
  nearest: nearestEven,
  sqrt: Math.sqrt,
} as const satisfies Unary;

const limited = (a: number, low: number, high: number): number =>
  Number.isNaN(a) ? 0 : Math.trunc(Math.min(Math.max(a, low), high)) | 0;
const FLOAT_TO_INT = {
  toI32: (a) => limited(a, -(2 ** 31), 2 ** 31 - 1),
  toU32: (a) => limited(a, 0, 2 ** 32 - 1),
} as const satisfies Unary;

/** Methods of values of one class that take another value of it, or none, and give a value. */
type Methods<V> = Readonly<Record<string, (other?: V | number) => Value>>;
const method = <V extends Value>(value: V, name: string): ((other?: V | number) => Value) => {
  const found = (value as unknown as Methods<V>)[name];
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found.bind(value);
};

type Type = "i32" | "f32" | "f64";

function checkBinary<V extends Value>(
  kind: Kind<V>,
  type: Type,
  result: Type,
  [name, wanted]: readonly [string, (a: number, b: number) => number],
  values: readonly number[],
): void {
  const both = compiled({ parameters: [type, type], result }, (body) =>
    body.returnValue(method(body.parameter(kind, 0), name)(body.parameter(kind, 1))),
  );
  for (const b of values) {
    // The second operand as a constant too: it is written in another way.
    const one = compiled({ parameters: [type], result }, (body) =>
      body.returnValue(method(body.parameter(kind, 0), name)(b)),
    );
    for (const a of values) {
      const what = `${a} ${name} ${b}`;
      if (type === "i32" && traps(name, a, b)) {
        expect(() => both.run(a, b), what).toThrow(WebAssembly.RuntimeError);
        expect(() => one.run(a), what).toThrow(WebAssembly.RuntimeError);
        continue;
      }
      const want = result === "f32" ? fround(wanted(a, b)) : wanted(a, b);
      expect(both.run(a, b), what).toBe(want);
      expect(one.run(a), what).toBe(want);
    }
  }
}

function checkUnary<V extends Value>(
  kind: Kind<V>,
  type: Type,
  result: Type,
  [name, wanted]: readonly [string, (a: number) => number],
  values: readonly number[],
): void {
  const { run } = compiled({ parameters: [type], result }, (body) =>
    body.returnValue(method(body.parameter(kind, 0), name)()),
  );
  for (const a of values) {
    const want = result === "f32" ? fround(wanted(a)) : wanted(a);
    expect(run(a), `${name} ${a}`).toBe(want);
  }
}

const singles = SPECIAL.map(fround);

describe("integers", () => {
  it.each(Object.entries(INT_BINARY))("%s", (name, wanted) => {
    checkBinary(I32, "i32", "i32", [name, wanted], INTS);
  });
  it.each(Object.entries(INT_UNARY))("%s", (name, wanted) => {
    const result = name.includes("F32") ? "f32" : name.includes("F64") ? "f64" : "i32";
    checkUnary(I32, "i32", result, [name, wanted], INTS);
  });
  it("select and minU", () => {
    const select = compiled({ parameters: ["i32", "i32", "i32"], result: "i32" }, (body) => {
      const [a, b, condition] = [0, 1, 2].map((index) => body.parameter(I32, index));
      body.returnValue((a as I32).select(condition as I32, b as I32));
    });
    expect([select.run(5, 6, 1), select.run(5, 6, 0), select.run(5, 6, -1)]).toEqual([5, 6, 5]);
    const smaller = compiled({ parameters: ["i32", "i32"], result: "i32" }, (body) =>
      body.returnValue(body.parameter(I32, 0).minU(body.parameter(I32, 1))),
    );
    expect([smaller.run(3, -1), smaller.run(-1, 3), smaller.run(-2, -1)]).toEqual([3, 3, -2]);
  });
});

describe.each([
  ["f32", F32, singles],
  ["f64", F64, SPECIAL],
] as const)("%s", (type, kind, values) => {
  it.each(Object.entries(FLOAT_BINARY))("%s", (name, wanted) => {
    checkBinary<F32 | F64>(kind, type, type, [name, wanted], values);
  });
  it.each(Object.entries(COMPARISONS))("%s", (name, wanted) => {
    checkBinary<F32 | F64>(kind, type, "i32", [name, wanted], values);
  });
  it.each(Object.entries(FLOAT_UNARY))("%s", (name, wanted) => {
    checkUnary<F32 | F64>(kind, type, type, [name, wanted], values);
  });
  it.each(Object.entries(FLOAT_TO_INT))("%s", (name, wanted) => {
    checkUnary<F32 | F64>(kind, type, "i32", [name, wanted], values);
  });
  it("select", () => {
    const { run } = compiled({ parameters: [type, type, "i32"], result: type }, (body) => {
      const [a, b] = [body.parameter<F32 | F64>(kind, 0), body.parameter<F32 | F64>(kind, 1)];
      body.returnValue((a as F32).select(body.parameter(I32, 2), b as F32));
    });
    expect([run(1.5, -0, 1), run(1.5, -0, 0)]).toEqual([1.5, -0]);
  });
});

describe("what only one float has", () => {
  it("ceil and copySign", () => {
    checkUnary(F32, "f32", "f32", ["ceil", Math.ceil], singles);
    const sign = (a: number, b: number): number => (negative(b) ? -Math.abs(a) : Math.abs(a));
    const numbers = singles.filter((value) => !Number.isNaN(value));
    checkBinary(F32, "f32", "f32", ["copySign", sign], numbers);
  });
  it("changes of the width", () => {
    checkUnary(F32, "f32", "f64", ["toF64", (a) => a], singles);
    checkUnary(F64, "f64", "f32", ["toF32", fround], [...SPECIAL, 1.1, 1e-46, 3.5e38]);
  });
  it("bits", () => {
    const bits = (a: number): number => new Int32Array(Float32Array.of(a).buffer)[0] ?? 0;
    checkUnary(F32, "f32", "i32", ["asI32", bits], singles);
  });
});

describe("loads and stores", () => {
  it.each([
    ["load", (address: I32 | number, offset: number) => I32.load(address, offset), 0x8483_8281],
    ["load8U", (address: I32 | number, offset: number) => I32.load8U(address, offset), 0x81],
    ["load16U", (address: I32 | number, offset: number) => I32.load16U(address, offset), 0x8281],
  ])("%s, at any address and offset", (_, load, wanted) => {
    const bytes = [0x81, 0x82, 0x83, 0x84];
    for (const [address, offset] of [
      [0, 0],
      [3, 0],
      [5, 130],
      [65_532, 0],
      [0, 65_532],
    ] as const) {
      const given = compiled({ parameters: ["i32"], result: "i32" }, (body) =>
        body.returnValue(load(body.parameter(I32, 0), offset)),
      );
      given.bytes.set(bytes, address + offset);
      expect(given.run(address) >>> 0).toBe(wanted);
      const constant = compiled({ result: "i32" }, (body) =>
        body.returnValue(load(address, offset)),
      );
      constant.bytes.set(bytes, address + offset);
      expect(constant.run() >>> 0).toBe(wanted);
    }
  });

  it("floats", () => {
    const f32 = compiled({ result: "f32" }, (body) => body.returnValue(F32.load(1, 6)));
    f32.view.setFloat32(7, 1.25, true);
    expect(f32.run()).toBe(1.25);
    const f64 = compiled({ result: "f64" }, (body) => body.returnValue(F64.load(2, 7)));
    f64.view.setFloat64(9, Math.PI, true);
    expect(f64.run()).toBe(Math.PI);
  });

  it("traps outside the memory", () => {
    const { run } = compiled({ parameters: ["i32"], result: "i32" }, (body) =>
      body.returnValue(I32.load(body.parameter(I32, 0))),
    );
    expect(run(65_532)).toBe(0);
    expect(() => run(65_533)).toThrow(WebAssembly.RuntimeError);
    expect(() => run(-4)).toThrow(WebAssembly.RuntimeError);
  });

  it("refuses an offset that is no address", () => {
    expect(() => I32.load(0, -4)).toThrow(RangeError);
    expect(() => I32.const(1.5)).toThrow(RangeError);
  });
});
