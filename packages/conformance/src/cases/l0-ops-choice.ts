import { type CompareKind, type DType, type Shape, compare, where } from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { PAIRS } from "./l0-ops-binary.ts";
import { contractCase } from "./l0-support.ts";

const KINDS: readonly CompareKind[] = ["eq", "ne", "lt", "le", "gt", "ge"];

/** Few distinct values, so that equality is frequent. */
function tied(random: CaseRandom, shape: Shape, dtype: DType): HostTensor {
  switch (dtype) {
    case "f32": {
      const values = random.integers(shape, -2, 2);
      return generated(shape, "f32", (index) => (values.data[index] ?? 0) / 2);
    }
    case "bool":
      return random.bools(shape);
    case "i32":
      return random.integers(shape, -2, 2);
    default:
      return random.integers(shape, 0, 3, dtype);
  }
}

const EDGES: Readonly<Record<string, readonly number[]>> = {
  f32: [0, -0, 1, -1, 2 ** -100, 2 ** 127, -(2 ** 127), 16_777_216, 16_777_218],
  i32: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 16_777_216, 16_777_217],
  u32: [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 16_777_216, 16_777_217],
  bool: [0, 1],
};

function compareCase(dtype: DType): ConformanceCase {
  const kinds = dtype === "bool" ? KINDS.slice(0, 2) : KINDS;
  return contractCase(
    `compare/${dtype}`,
    `compare of ${dtype} gives exactly the relation, under broadcasting and with a scalar`,
    [compare],
    [dtype, "bool"],
    async (test) => {
      const edges = EDGES[dtype] ?? [];
      const column = hostTensor(edges, dtype, [edges.length, 1]);
      const row = hostTensor(edges, dtype, [1, edges.length]);
      await test.compare({ column, row }, ({ inputs: { column, row } }) =>
        Object.fromEntries(
          kinds.flatMap((kind) => [
            [`edges ${kind}`, compare(column, row, { kind })],
            ...edges.map((scalar) => [
              `edges ${kind} ${scalar}`,
              compare(row, undefined, { kind, scalar }),
            ]),
          ]),
        ),
      );
      for (const [left, right] of PAIRS) {
        const inputs = { a: tied(test.random, left, dtype), b: tied(test.random, right, dtype) };
        await test.compare(inputs, ({ inputs: { a, b } }) =>
          Object.fromEntries(kinds.map((kind) => [`${kind}`, compare(a, b, { kind })])),
        );
      }
    },
  );
}

/** Shapes of condition and sides. */
const TRIPLES: readonly (readonly [Shape, Shape, Shape])[] = [
  [[], [], []],
  [[7], [7], [7]],
  [[5, 1], [33], []],
  [[33], [4, 1], [4, 33]],
  [
    [2, 1, 3],
    [1, 4, 3],
    [2, 4, 1],
  ],
  [[0], [0], [1]],
  [[129, 65], [129, 65], [65]],
];

function whereCase(dtype: DType): ConformanceCase {
  const values = (random: CaseRandom, shape: Shape): HostTensor =>
    dtype === "f32" ? random.normal(shape) : random.bits(shape, dtype);
  const [low, high] = dtype === "bool" ? [0, 1] : [3, 7];
  return contractCase(
    `where/${dtype}`,
    `where of ${dtype} takes a where the condition holds, else b; shapes broadcast, sides may be scalars`,
    [where],
    [dtype, "bool"],
    async (test) => {
      for (const [condition, left, right] of TRIPLES) {
        const inputs = {
          c: test.random.bools(condition),
          a: values(test.random, left),
          b: values(test.random, right),
        };
        await test.compare(inputs, ({ float, inputs: { c, a, b } }) => ({
          both: where(c, a, b, {}),
          scalarB: where(c, a, undefined, { b: low }),
          scalarA: where(c, undefined, b, { a: high }),
          scalars: where(c, undefined, undefined, {
            a: low,
            b: high,
            dtype: dtype === "f32" ? float : dtype,
          }),
        }));
      }
    },
  );
}

/** Cases of `compare` and `where`. */
export const choiceCases: readonly ConformanceCase[] = [
  ...(["f32", "i32", "u32", "bool"] as const).map(compareCase),
  ...(["f32", "i32", "u32", "bool"] as const).map(whereCase),
  contractCase(
    "where/unchosen-nan",
    "where does not look at the value it does not choose: a NaN or ∞ there does no harm",
    [where],
    ["f32", "bool"],
    async (test) => {
      const c = test.random.bools([515]);
      const poison = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      const side = (chosen: number): HostTensor =>
        generated([515], "f32", (index) =>
          c.data[index] === chosen ? index : (poison[index % 3] ?? 0),
        );
      await test.compare({ c, a: side(1), b: side(0) }, ({ inputs: { c, a, b } }) => ({
        both: where(c, a, b, {}),
        left: where(c, a, undefined, { b: -1 }),
        right: where(c, undefined, b, { a: -1 }),
      }));
    },
  ),
];
