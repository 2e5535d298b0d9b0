import { type BinaryKind, type DType, type Shape, type Tensor, binary } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";
import { LONG, MANY_ROWS, SHAPES, contractCase, inputsFor } from "./l0-support.ts";

/** Pairs of shapes that broadcast, either side repeated, both, and neither. */
export const PAIRS: readonly (readonly [Shape, Shape])[] = [
  [[], []],
  [[5], []],
  [[], [33]],
  [[4, 33], [33]],
  [
    [4, 1],
    [1, 17],
  ],
  [
    [2, 1, 5],
    [3, 1],
  ],
  [
    [1, 3, 1, 7],
    [2, 1, 4, 1],
  ],
  [
    [2, 3, 1, 2, 2],
    [4, 1, 2],
  ],
  [[0], [1]],
  [
    [3, 0],
    [1, 0],
  ],
  [
    [129, 65],
    [129, 65],
  ],
];

interface FloatKind {
  readonly kind: BinaryKind;
  /** Range of the right operand, away from what the function has no value at. */
  readonly right: readonly [number, number];
  readonly left?: readonly [number, number];
  readonly scalars: readonly number[];
  /** Pairs at which the function has something to get wrong. */
  readonly points: readonly (readonly [number, number])[];
}

const NAN = Number.NaN;

const FLOAT_KINDS: readonly FloatKind[] = [
  {
    kind: "add",
    right: [-5, 5],
    scalars: [0, -1.5, 1e10],
    points: [
      [1, 1e-10],
      [3e38, -3e38],
    ],
  },
  {
    kind: "sub",
    right: [-5, 5],
    scalars: [0, 2.5, 1e-10],
    points: [
      [1, 1],
      [1e10, 1],
    ],
  },
  {
    kind: "mul",
    right: [-5, 5],
    scalars: [0, -1, 0.1],
    points: [
      [0, 1e30],
      [1e20, 1e-20],
      [-0, 3],
    ],
  },
  {
    kind: "div",
    right: [0.1, 5],
    scalars: [-3, 0.1, 1e10],
    points: [
      [0, 7],
      [1, 3],
      [1e20, -1e10],
    ],
  },
  {
    kind: "max",
    right: [-5, 5],
    scalars: [0, -1e30, 1],
    points: [
      [NAN, 1],
      [1, NAN],
      [NAN, NAN],
      [NAN, -3e38],
      [2, 2],
      [-1, 1],
      [-3e38, 3e38],
    ],
  },
  {
    kind: "min",
    right: [-5, 5],
    scalars: [0, 1e30, -1],
    points: [
      [NAN, 1],
      [1, NAN],
      [NAN, NAN],
      [NAN, 3e38],
      [2, 2],
      [-1, 1],
      [-3e38, 3e38],
    ],
  },
  {
    kind: "pow",
    left: [0.1, 3],
    right: [-3, 3],
    scalars: [2, 0.5, 0, -1, 3],
    points: [
      [0, 2],
      [0, 0.5],
      [0, 0],
      [5, 0],
      [-2, 3],
      [-2, 2],
      [-1.5, -3],
      [1, 100],
      [10, -10],
    ],
  },
];

function floatCase({ kind, left = [-5, 5], right, scalars, points }: FloatKind): ConformanceCase {
  return contractCase(
    `binary/${kind}`,
    `binary ${kind} gives the function's value for floats, under broadcasting and with a scalar`,
    [binary],
    ["f32"],
    async (test) => {
      const { random } = test;
      const lefts = PAIRS.map(([shape]) => random.uniform(shape, ...left));
      const rights = PAIRS.map(([, shape]) => random.uniform(shape, ...right));
      await test.compare({ ...named("a", lefts), ...named("b", rights) }, ({ inputs }) =>
        pairwise(inputs, PAIRS.length, kind),
      );
      const at = {
        a: hostTensor(points.map(([a]) => a)),
        b: hostTensor(points.map(([, b]) => b)),
      };
      await test.compare(at, ({ inputs: { a, b } }) => ({ points: binary(a, b, { kind }) }));
      await scalarRuns(test, kind, scalars, "f32", (shape) => random.uniform(shape, ...left));
    },
  );
}

/** Operands of 32-bit integers at which arithmetic wraps, divides by 0 or changes sign. */
const EDGES = [
  0, 1, 2, 3, 7, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffff9, 0xfffffffe, 0xffffffff,
];

const INTEGER_KINDS: readonly BinaryKind[] = ["add", "sub", "mul", "div", "max", "min", "rem"];

function integerCase(dtype: "i32" | "u32", kind: BinaryKind): ConformanceCase {
  return contractCase(
    `binary/${kind}-${dtype}`,
    `binary ${kind} of ${dtype} wraps; division by 0 gives 0, and truncates toward 0`,
    [binary],
    [dtype],
    async (test) => {
      const { random } = test;
      const count = EDGES.length;
      await test.compare(
        {
          edgesA: hostTensor(EDGES, dtype, [count, 1]),
          edgesB: hostTensor(EDGES, dtype, [1, count]),
          ...named(
            "a",
            PAIRS.map(([shape]) => random.bits(shape, dtype)),
          ),
          ...named(
            "b",
            PAIRS.map(([, shape]) => random.bits(shape, dtype)),
          ),
        },
        ({ inputs }) => ({
          edges: binary(inputs.edgesA, inputs.edgesB, { kind }),
          ...pairwise(inputs, PAIRS.length, kind),
        }),
      );
      const scalars = dtype === "i32" ? [0, 1, -1, 7, -(2 ** 31)] : [0, 1, 7, 2 ** 32 - 1];
      await scalarRuns(test, kind, scalars, dtype, (shape) => random.bits(shape, dtype));
    },
  );
}

async function scalarRuns(
  test: CaseContext,
  kind: BinaryKind,
  scalars: readonly number[],
  dtype: DType,
  make: (shape: Shape) => HostTensor,
): Promise<void> {
  const shapes: readonly Shape[] = [[], [0], [3, 43]];
  await test.compare(inputsFor(shapes, make), ({ inputs }) =>
    Object.fromEntries(
      Object.entries(inputs).flatMap(([name, x]) =>
        scalars.map((scalar) => [
          `${dtype} ${name} ${kind} ${scalar}`,
          binary(x, undefined, { kind, scalar }),
        ]),
      ),
    ),
  );
}

function named(prefix: string, list: readonly HostTensor[]): Record<string, HostTensor> {
  return Object.fromEntries(list.map((one, index) => [`${prefix}${index}`, one]));
}

function pairwise(
  inputs: Readonly<Record<string, Tensor>>,
  count: number,
  kind: BinaryKind,
): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (let index = 0; index < count; index++) {
    const [a, b] = [inputs[`a${index}`], inputs[`b${index}`]];
    if (a && b) outputs[`${kind} [${a.shape}] [${b.shape}]`] = binary(a, b, { kind });
  }
  return outputs;
}

/** Cases of `binary`. */
export const binaryCases: readonly ConformanceCase[] = [
  ...FLOAT_KINDS.map(floatCase),
  ...INTEGER_KINDS.map((kind) => integerCase("i32", kind)),
  ...INTEGER_KINDS.map((kind) => integerCase("u32", kind)),
  contractCase(
    "binary/logic",
    "and and or of bools give 0 or 1 under broadcasting",
    [binary],
    ["bool"],
    async (test) => {
      const inputs = {
        ...named(
          "a",
          PAIRS.map(([shape]) => test.random.bools(shape)),
        ),
        ...named(
          "b",
          PAIRS.map(([, shape]) => test.random.bools(shape)),
        ),
      };
      for (const kind of ["and", "or"] as const) {
        await test.compare(inputs, (run) => pairwise(run.inputs, PAIRS.length, kind));
      }
    },
  ),
  contractCase(
    "binary/long",
    "functions of pairs reach every element of long tensors, repeated rows and columns too",
    [binary],
    ["f32"],
    async (test) => {
      const { random } = test;
      const column: Shape = [MANY_ROWS[0] ?? 0, 1];
      const inputs = {
        a: random.normal(LONG),
        b: random.normal(LONG),
        rows: random.normal(MANY_ROWS),
        column: random.normal(column),
      };
      await test.compare(inputs, ({ inputs: { a, b, rows, column } }) => ({
        flat: binary(a, b, { kind: "add" }),
        scalar: binary(a, undefined, { kind: "mul", scalar: 3 }),
        rows: binary(rows, column, { kind: "sub" }),
      }));
    },
  ),
  contractCase(
    "binary/one-tensor-twice",
    "an op whose inputs are one tensor, or views of one buffer, reads both",
    [binary],
    ["f32"],
    async (test) => {
      const inputs = inputsFor(SHAPES, (shape) => test.random.normal(shape));
      await test.compare(inputs, (run) =>
        Object.fromEntries(
          Object.entries(run.inputs).flatMap(([name, x]) => [
            [`twice ${name}`, binary(x, x, { kind: "mul" })],
            [
              `view ${name}`,
              binary(x, x.reshape([...x.shape, 1]).reshape(x.shape), { kind: "sub" }),
            ],
          ]),
        ),
      );
    },
  ),
];
