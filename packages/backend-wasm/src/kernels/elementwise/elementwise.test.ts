import {
  type Backend,
  type BinaryKind,
  type CompareKind,
  type DType,
  type Shape,
  type Tensor,
  type UnaryKind,
  binary,
  compare,
  donate,
  fill,
  iota,
  unary,
  where,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitsTensor } from "../../testing/bits.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.5,
  -2.5,
  3,
  1e-3,
  -7,
  88,
  -88,
  1e30,
  -1e30,
  2 ** -130,
  Infinity,
  -Infinity,
  NaN,
];
const INTEGERS = [0, 1, -1, 2, -2, 3, 7, -7, 255, 65_536, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1];

/** The values against one another: of each pair the first, or the second. */
function every(backend: Backend, dtype: DType, which: 0 | 1): Tensor {
  const values = valuesOf(dtype);
  const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
  const chosen = pairs.map((pair) => pair[which]);
  if (dtype === "i32") return backend.tensor(Int32Array.from(chosen));
  if (dtype === "u32") return backend.tensor(Uint32Array.from(chosen));
  if (dtype === "bool") return backend.tensor(Uint32Array.from(chosen), { dtype });
  return backend.tensor(Float32Array.from(chosen));
}

function valuesOf(dtype: DType): readonly number[] {
  if (dtype === "bool") return [0, 1];
  return dtype === "f32" ? FLOATS : INTEGERS;
}

const FLOAT_KINDS: readonly UnaryKind[] = [
  "neg",
  "abs",
  "sign",
  "exp",
  "log",
  "log1p",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "tanh",
  "erf",
  "sigmoid",
  "softplus",
  "sin",
  "cos",
  "floor",
  "ceil",
  "round",
  "isNaN",
];

const UNARY: readonly (readonly [DType, UnaryKind])[] = [
  ...FLOAT_KINDS.map((kind) => ["f32", kind] as const),
  ...(["i32", "u32"] as const).flatMap((dtype) =>
    (["neg", "abs", "sign"] as const).map((kind) => [dtype, kind] as const),
  ),
  ["bool", "not"],
];

const NUMBER_KINDS = ["add", "sub", "mul", "div", "max", "min"] as const;
const BINARY: readonly (readonly [DType, BinaryKind])[] = [
  ...[...NUMBER_KINDS, "pow" as const].map((kind) => ["f32", kind] as const),
  ...(["i32", "u32"] as const).flatMap((dtype) =>
    [...NUMBER_KINDS, "rem" as const].map((kind) => [dtype, kind] as const),
  ),
  ["bool", "and"],
  ["bool", "or"],
];

const RELATIONS = ["eq", "ne", "lt", "le", "gt", "ge"] as const;
const COMPARE: readonly (readonly [DType, CompareKind])[] = [
  ...(["f32", "i32", "u32"] as const).flatMap((dtype) =>
    RELATIONS.map((kind) => [dtype, kind] as const),
  ),
  ["bool", "eq"],
  ["bool", "ne"],
];

/** Two shapes that broadcast: rows, columns, scalars, odd rows, none, many axes, several tasks. */
const SHAPES: readonly (readonly [Shape, Shape])[] = [
  [[], []],
  [[7], []],
  [[], [7]],
  [[3, 5], [5]],
  [[5], [3, 5]],
  [
    [3, 5],
    [3, 1],
  ],
  [
    [3, 1],
    [1, 5],
  ],
  [
    [0, 3],
    [1, 3],
  ],
  [
    [2, 1, 3, 1, 2, 1],
    [1, 3, 1, 2, 1, 3],
  ],
  [
    [2, 1, 3, 1, 2, 1, 5],
    [2, 3, 1, 2, 1, 3, 1],
  ],
  [[41_003], [41_003]],
  [
    [1003, 41],
    [1003, 1],
  ],
  [[1003, 41], [41]],
  [
    [3, 20_001],
    [3, 1],
  ],
  [
    [20_001, 3],
    [20_001, 1],
  ],
];

describe.each([1, 3])("elementwise kernels on %i threads", (threads) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads });
  });
  afterAll(() => pair.dispose());

  it.each(UNARY)("unary %s %s", async (dtype, kind) => {
    await pair.agree((backend) => unary(every(backend, dtype, 0), { kind }), 3e-7);
    await pair.agree((backend) => unary(bitsTensor(backend, 3, [0], dtype), { kind }));
    const exact = !["exp", "log1p", "softplus", "sin", "cos"].includes(kind);
    const shape = [exact ? 33_001 : 103];
    await pair.agree((backend) => unary(bitsTensor(backend, 4, shape, dtype), { kind }), 3e-7);
  });

  it.each(BINARY)("binary %s %s", async (dtype, kind) => {
    const run = (backend: Backend): Tensor[] => {
      const [a, b] = [every(backend, dtype, 0), every(backend, dtype, 1)];
      const scalars = dtype === "u32" ? [0, 1, 3, 2 ** 32 - 1] : [0, 1, -1, 3, -7];
      const fitting = dtype === "bool" ? [0, 1] : scalars;
      return [
        binary(a, b, { kind }),
        ...fitting.map((scalar) => binary(a, undefined, { kind, scalar })),
      ];
    };
    await pair.agree(run, kind === "pow" ? 1e-7 : 0);
  });

  it.each(COMPARE)("compare %s %s", async (dtype, kind) => {
    await pair.agree((backend) => {
      const [a, b] = [every(backend, dtype, 0), every(backend, dtype, 1)];
      return [compare(a, b, { kind }), compare(a, undefined, { kind, scalar: 1 })];
    });
  });

  it.each(SHAPES)("broadcasts %j with %j", async (left, right) => {
    await pair.agree((backend) => {
      const [a, b] = [randomTensor(backend, 1, left), randomTensor(backend, 2, right)];
      const relation = compare(a, b, { kind: "lt" });
      return [
        binary(a, b, { kind: "sub" }),
        binary(a, b, { kind: "pow" }),
        relation,
        where(relation, a, b),
        where(compare(b, undefined, { kind: "gt", scalar: 0 }), a, undefined, { b: -1.5 }),
        where(relation, undefined, undefined, { a: 1, b: -2, dtype: "i32" }),
      ];
    }, 1e-7);
  });

  it.each(SHAPES)("writes donated tensors of %j and %j in place, or not at all", async (a, b) => {
    await pair.agree((backend) => {
      const sum = binary(donate(randomTensor(backend, 1, a)), randomTensor(backend, 2, b), {
        kind: "add",
      });
      const difference = binary(randomTensor(backend, 1, a), donate(randomTensor(backend, 2, b)), {
        kind: "sub",
      });
      const chosen = where(
        compare(difference, undefined, { kind: "gt", scalar: 0 }),
        donate(randomTensor(backend, 3, a)),
        donate(randomTensor(backend, 4, b)),
      );
      return [unary(donate(sum), { kind: "neg" }), chosen, difference];
    });
  });

  it("chooses numbers without looking at the others", async () => {
    await pair.agree((backend) => {
      const a = backend.tensor([1, NaN, Infinity]);
      const condition = unary(a, { kind: "isNaN" });
      return [
        where(condition, undefined, a, { a: 0 }),
        where(condition, a, undefined, { b: 4_294_967_295 }),
        where(condition, undefined, undefined, { a: 4_294_967_295, b: 0, dtype: "u32" }),
      ];
    });
  });

  it.each([
    ["f32", [1.1, -0, NaN, Infinity, 1e-40]],
    ["i32", [-5, 2 ** 31 - 1, -(2 ** 31)]],
    ["u32", [0, 2 ** 32 - 1]],
    ["bool", [0, 1]],
    ["u8", [0, 7, 255]],
    [
      "f16",
      [1, -0, 65_519.99, 65_520, 2 ** -25, 2 ** -24 * 1.5, 2049, 2051, NaN, -Infinity, 1 / 3],
    ],
    ["bf16", [1, -0, 3.4e38, 257, 259, 1.00390625, 2 ** -133, 2 ** -134, NaN, -1e39, 1 / 3]],
  ] as const)("fills with %s", async (dtype, values) => {
    for (const value of values) {
      for (const shape of [[], [0, 4], [3, 7], [70_001]]) {
        await pair.agree((backend) => fill(backend, { shape, value, dtype }));
      }
    }
  });

  it.each(["f32", "i32", "u32"] as const)("counts in %s", async (dtype) => {
    for (const [shape, axis] of [
      [[5], 0],
      [[40_000], 0],
      [[3, 70, 111], 0],
      [[3, 70, 111], 1],
      [[3, 70, 111], 2],
      [[0, 3], 1],
      [[3, 0], 0],
    ] as const) {
      await pair.agree((backend) => iota(backend, { shape, axis, dtype }));
    }
  });
});

it("gives the same bits on any number of threads", async () => {
  const results: number[][] = [];
  for (const threads of [1, 2, 3]) {
    const { wasm, dispose } = await createPair({ threads });
    const x = randomTensor(wasm, 9, [251, 401]);
    const y = binary(unary(x, { kind: "sigmoid" }), randomTensor(wasm, 8, [401]), { kind: "pow" });
    results.push([...(await y.read())]);
    await dispose();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});
