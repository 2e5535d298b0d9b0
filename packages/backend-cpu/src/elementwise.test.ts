import {
  type Backend,
  type BinaryKind,
  type CompareKind,
  type Shape,
  type UnaryKind,
  binary,
  broadcastShapes,
  compare,
  donate,
  unary,
  where,
} from "@moiety/core";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { at, count, indicesOf, numbersOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeEach(async () => {
  backend = await create();
});

const f64 = (values: number[], shape?: Shape) =>
  backend.tensor(values, { dtype: "f64", shape: shape ?? [values.length] });
const i32 = (values: number[]) => backend.tensor(values, { dtype: "i32" });
const u32 = (values: number[]) => backend.tensor(values, { dtype: "u32" });

describe("unary", () => {
  const points = [-40, -2.5, -1.5, -0.5, -1e-9, 0, 1e-9, 0.5, 0.7, 1.5, 2.5, 3.49, 40];
  const positive = points.filter((x) => x > 0);
  const cases: [UnaryKind, number[], (x: number) => number][] = [
    ["neg", points, (x) => -x],
    ["abs", points, (x) => (x < 0 ? -x : x)],
    ["sign", points, (x) => (x > 0 ? 1 : x < 0 ? -1 : 0)],
    ["exp", points, (x) => Math.E ** x],
    ["log", positive, (x) => Math.log2(x) * Math.LN2],
    [
      "log1p",
      [-0.5, -1e-9, 0, 1e-9, 2],
      (x) => (Math.abs(x) < 1e-6 ? x - (x * x) / 2 : Math.log(1 + x)),
    ],
    ["sqrt", positive, (x) => x ** 0.5],
    ["rsqrt", positive, (x) => x ** -0.5],
    ["reciprocal", [-2, 0.25, 3], (x) => x ** -1],
    [
      "tanh",
      points,
      (x) => (Math.abs(x) < 1e-6 ? x : Math.sign(x) * (1 - 2 / (Math.exp(2 * Math.abs(x)) + 1))),
    ],
    ["sigmoid", points, (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)))],
    ["softplus", points, (x) => (x > 30 ? x : x < -30 ? Math.exp(x) : Math.log(1 + Math.exp(x)))],
    ["sin", [-1, 0, 2], (x) => Math.cos(x - Math.PI / 2)],
    ["cos", [-1, 0, 2], (x) => Math.sin(x + Math.PI / 2)],
    ["floor", points, (x) => x - (((x % 1) + 1) % 1)],
    ["ceil", points, (x) => -Math.floor(-x)],
    [
      "round",
      [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.51, 1e20],
      (x) =>
        ({ "-2.5": -2, "-1.5": -2, "-0.5": 0, "0.5": 0, "1.5": 2, "2.5": 2, "2.51": 3 })[
          String(x)
        ] ?? x,
    ],
  ];
  it.each(cases)("%s", async (kind, x, expected) => {
    const wide = await valuesOf(unary(f64(x), { kind }));
    const narrow = await valuesOf(unary(backend.tensor(x), { kind }));
    for (const [index, value] of x.entries()) {
      const exact = expected(value);
      expect(Math.abs((wide[index] ?? NaN) - exact)).toBeLessThanOrEqual(
        4e-15 * Math.abs(exact) + 1e-16,
      );
      const rounded = expected(Math.fround(value));
      if (kind === "floor" || kind === "ceil" || kind === "round") continue;
      expect(Math.abs((narrow[index] ?? NaN) - rounded)).toBeLessThanOrEqual(
        6e-8 * Math.abs(rounded) + 1e-15,
      );
    }
  });

  it("stays finite where exponentials overflow", async () => {
    const x = f64([-1000, 1000]);
    expect(await valuesOf(unary(x, { kind: "sigmoid" }))).toEqual([0, 1]);
    expect(await valuesOf(unary(x, { kind: "softplus" }))).toEqual([0, 1000]);
  });

  it("wraps integers", async () => {
    expect(await valuesOf(unary(i32([-(2 ** 31), 5]), { kind: "neg" }))).toEqual([-(2 ** 31), -5]);
    expect(await valuesOf(unary(i32([-(2 ** 31), -5]), { kind: "abs" }))).toEqual([-(2 ** 31), 5]);
    expect(await valuesOf(unary(u32([1, 0]), { kind: "neg" }))).toEqual([2 ** 32 - 1, 0]);
    expect(await valuesOf(unary(u32([7, 0]), { kind: "sign" }))).toEqual([1, 0]);
  });

  it("tests NaN and negates booleans", async () => {
    const x = backend.tensor([NaN, 0, Infinity]);
    expect(await valuesOf(unary(x, { kind: "isNaN" }))).toEqual([1, 0, 0]);
    expect(await valuesOf(unary(backend.tensor([true, false]), { kind: "not" }))).toEqual([0, 1]);
    expect(await valuesOf(unary(x, { kind: "sign" }))).toEqual([NaN, 0, 1]);
  });
});

describe("binary", () => {
  const REAL: Partial<Record<BinaryKind, (a: number, b: number) => number>> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    div: (a, b) => a / b,
    max: (a, b) => Math.max(a, b),
    min: (a, b) => Math.min(a, b),
  };
  const shapes: [Shape, Shape][] = [
    [
      [3, 4],
      [3, 4],
    ],
    [[3, 4], [4]],
    [
      [3, 4],
      [3, 1],
    ],
    [
      [3, 1],
      [1, 4],
    ],
    [
      [2, 3, 4],
      [3, 1],
    ],
    [
      [2, 1, 4],
      [1, 3, 1],
    ],
    [
      [2, 3, 4],
      [2, 1, 4],
    ],
    [
      [2, 3, 4],
      [2, 3, 1],
    ],
    [[], [2, 2]],
    [[1], [5]],
    [[0, 4], [4]],
    [[70, 33], [33]],
    [
      [70, 33],
      [70, 1],
    ],
    [[3, 1500], [1500]],
    [
      [3, 1500],
      [3, 1],
    ],
    [[1500, 3], [3]],
    [
      [2, 700, 3],
      [700, 1],
    ],
  ];
  it.each(shapes)("broadcasts %j with %j", async (left, right) => {
    const a = numbersOf(1, count(left));
    const b = numbersOf(2, count(right));
    const shape = broadcastShapes(left, right);
    for (const kind of ["add", "sub", "div", "max"] as const) {
      const f = REAL[kind] ?? (() => NaN);
      const expected = indicesOf(shape).map((index) => f(at(a, left, index), at(b, right, index)));
      const out = binary(f64(a, left), f64(b, right), { kind });
      expect(out.shape).toEqual(shape);
      expect(await valuesOf(out)).toEqual(expected);
      const flipped = binary(f64(b, right), f64(a, left), { kind });
      expect(await valuesOf(flipped)).toEqual(
        indicesOf(shape).map((index) => f(at(b, right, index), at(a, left, index))),
      );
    }
  });

  it("rounds f32 results once, and its scalar first", async () => {
    const a = numbersOf(3, 3000).map(Math.fround);
    const b = numbersOf(4, 3000).map(Math.fround);
    for (const kind of ["add", "mul", "div", "min"] as const) {
      const f = REAL[kind] ?? (() => NaN);
      const both = binary(backend.tensor(a), backend.tensor(b), { kind });
      expect(await valuesOf(both)).toEqual(a.map((x, i) => Math.fround(f(x, b[i] ?? NaN))));
      const scalar = binary(backend.tensor(a), undefined, { kind, scalar: 0.1 });
      expect(await valuesOf(scalar)).toEqual(a.map((x) => Math.fround(f(x, Math.fround(0.1)))));
      const wide = binary(f64(a), undefined, { kind, scalar: 0.1 });
      expect(await valuesOf(wide)).toEqual(a.map((x) => f(x, 0.1)));
    }
  });

  it("lets NaN lose to every number", async () => {
    const a = f64([NaN, 1, NaN, -Infinity]);
    const b = f64([-Infinity, NaN, NaN, NaN]);
    expect(await valuesOf(binary(a, b, { kind: "max" }))).toEqual([-Infinity, 1, NaN, -Infinity]);
    expect(await valuesOf(binary(a, b, { kind: "min" }))).toEqual([-Infinity, 1, NaN, -Infinity]);
  });

  it("raises to powers", async () => {
    const out = binary(f64([2, 9, -2, 0, 5]), f64([10, 0.5, 3, 2, 0]), { kind: "pow" });
    expect(await valuesOf(out)).toEqual([1024, 3, -8, 0, 1]);
  });

  it("computes integers modulo 2^32, exactly", async () => {
    const edge = [0, 1, 2, 3, 7, 46341, 65537, 2 ** 31 - 1];
    const pairs = edge.flatMap((a) =>
      edge.flatMap((b) => [
        [a, b],
        [-a, b],
        [a, -b],
        [-a - 1, -b - 1],
      ]),
    );
    const a = pairs.map(([x]) => x ?? 0);
    const b = pairs.map(([, y]) => y ?? 0);
    const wide: [BinaryKind, (x: bigint, y: bigint) => bigint][] = [
      ["add", (x, y) => x + y],
      ["sub", (x, y) => x - y],
      ["mul", (x, y) => x * y],
      ["div", (x, y) => (y === 0n ? 0n : x / y)],
      ["rem", (x, y) => (y === 0n ? 0n : x % y)],
      ["max", (x, y) => (x > y ? x : y)],
      ["min", (x, y) => (x < y ? x : y)],
    ];
    for (const [kind, f] of wide) {
      const signed = pairs.map(([x = 0, y = 0]) =>
        Number(BigInt.asIntN(32, f(BigInt(x), BigInt(y)))),
      );
      expect(await valuesOf(binary(i32(a), i32(b), { kind }))).toEqual(signed.map((x) => x + 0));
      const ua = a.map((x) => x >>> 0);
      const ub = b.map((x) => x >>> 0);
      const unsigned = ua.map((x, i) =>
        Number(BigInt.asUintN(32, f(BigInt(x), BigInt(ub[i] ?? 0)))),
      );
      expect(await valuesOf(binary(u32(ua), u32(ub), { kind }))).toEqual(unsigned);
    }
    expect(await valuesOf(binary(i32([-7, 7]), undefined, { kind: "div", scalar: 2 }))).toEqual([
      -3, 3,
    ]);
  });

  it("combines booleans", async () => {
    const a = backend.tensor([true, true, false, false]);
    const b = backend.tensor([true, false, true, false]);
    expect(await valuesOf(binary(a, b, { kind: "and" }))).toEqual([1, 0, 0, 0]);
    expect(await valuesOf(binary(a, b, { kind: "or" }))).toEqual([1, 1, 1, 0]);
  });
});

describe("compare", () => {
  const relations: [CompareKind, (a: number, b: number) => boolean][] = [
    ["eq", (a, b) => a === b],
    ["ne", (a, b) => a !== b],
    ["lt", (a, b) => a < b],
    ["le", (a, b) => a <= b],
    ["gt", (a, b) => a > b],
    ["ge", (a, b) => a >= b],
  ];
  it.each(relations)("%s", async (kind, relation) => {
    const a = [0, -0, 1, NaN, NaN, 2, Infinity];
    const b = [-0, 0, 2, NaN, 1, 1, Infinity];
    const expected = a.map((x, i) => Number(relation(x, b[i] ?? 0)));
    const out = compare(f64(a), f64(b), { kind });
    expect(out.dtype).toBe("bool");
    expect(await valuesOf(out)).toEqual(expected);
    const whole = compare(i32([-1, 0, 1]), undefined, { kind, scalar: 0 });
    expect(await valuesOf(whole)).toEqual([-1, 0, 1].map((x) => Number(relation(x, 0))));
    const column = compare(f64([1, 2], [2, 1]), f64([1, 2, 3]), { kind });
    expect(await valuesOf(column)).toEqual(
      [1, 2].flatMap((x) => [1, 2, 3].map((y) => Number(relation(x, y)))),
    );
  });

  it("rounds a scalar to f32 before comparing", async () => {
    const x = backend.tensor([0.1]);
    expect(await valuesOf(compare(x, undefined, { kind: "eq", scalar: 0.1 }))).toEqual([1]);
  });
});

describe("where", () => {
  it("chooses, broadcasts, and takes scalars", async () => {
    const condition = backend.tensor([true, false], { shape: [2, 1] });
    const a = f64([1, 2, 3]);
    expect(await valuesOf(where(condition, a, undefined, { b: -1 }))).toEqual([
      1, 2, 3, -1, -1, -1,
    ]);
    expect(await valuesOf(where(condition, undefined, a, { a: 9 }))).toEqual([9, 9, 9, 1, 2, 3]);
    const both = where(condition, undefined, undefined, { a: 1, b: 0, dtype: "i32" });
    expect(both.dtype).toBe("i32");
    expect(await valuesOf(both)).toEqual([1, 0]);
    expect(await valuesOf(where(condition, f64([NaN]), f64([5]), {}))).toEqual([NaN, 5]);
    const flags = where(condition, backend.tensor([true]), backend.tensor([false]), {});
    expect(await valuesOf(flags)).toEqual([1, 0]);
  });

  it("keeps unsigned words whole", async () => {
    const out = where(backend.tensor([true, false]), u32([2 ** 32 - 1]), u32([2 ** 31]), {});
    expect(await valuesOf(out)).toEqual([2 ** 32 - 1, 2 ** 31]);
  });
});

describe("donation", () => {
  it("writes in place and gives the same values", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<Shape>([5], [3, 7], [40, 50], [1, 2000]),
        fc.boolean(),
        async (shape, second) => {
          const a = numbersOf(5, count(shape)).map(Math.fround);
          const b = numbersOf(6, count(shape)).map(Math.fround);
          const left = backend.tensor(a, { shape });
          const right = backend.tensor(b, { shape });
          const before = backend.statistics().liveBuffers;
          const out = second
            ? binary(left, donate(right), { kind: "sub" })
            : binary(donate(left), right, { kind: "sub" });
          expect(backend.statistics().liveBuffers).toBe(before);
          expect(await valuesOf(out)).toEqual(a.map((x, i) => Math.fround(x - (b[i] ?? NaN))));
        },
      ),
      { numRuns: 20 },
    );
  });

  it("does not write into a repeated operand", async () => {
    const row = f64([1, 2, 3]);
    const out = binary(f64([10, 20], [2, 1]), donate(row), { kind: "add" });
    expect(await valuesOf(out)).toEqual([11, 12, 13, 21, 22, 23]);
  });

  it("does not write booleans over a repeated operand of as many bytes", async () => {
    const a = numbersOf(8, 3000);
    const out = compare(donate(f64(a)), f64([0, 0.5], [2, 1]), { kind: "lt" });
    const expected = [0, 0.5].flatMap((bound) => a.map((value) => Number(value < bound)));
    expect(await valuesOf(out)).toEqual(expected);
  });

  it("turns numbers into booleans in place", async () => {
    const x = backend.tensor(numbersOf(7, 3000));
    const expected = (await valuesOf(x)).map((value) => Number(value < 0));
    const before = backend.statistics().liveBuffers;
    const out = compare(donate(x), undefined, { kind: "lt", scalar: 0 });
    expect(backend.statistics().liveBuffers).toBe(before);
    expect(await valuesOf(out)).toEqual(expected);
  });
});
