import { type ReduceKind, type Shape, type Tensor, cumsum, reduce } from "@moiety/core";
import type { ConformanceCase, ProgramRun } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { contractCase, inputsFor } from "./l0-support.ts";

const REDUCE_KINDS: readonly ReduceKind[] = ["sum", "max", "min"];

const REDUCED: readonly Shape[] = [
  [1],
  [5],
  [129],
  [3, 4],
  [33, 65],
  [65, 33],
  [2, 3, 5],
  [4, 1, 6],
  [2, 3, 4, 5],
];

/** All lists of axes of a rank, in ascending order, the empty one too. */
function axesOf(rank: number): number[][] {
  return Array.from({ length: 2 ** rank }, (_, bits) =>
    Array.from({ length: rank }, (_, axis) => axis).filter((axis) => (bits >> axis) & 1),
  );
}

function everyReduction(run: ProgramRun, kind: ReduceKind): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (const x of Object.values(run.inputs)) {
    for (const axes of axesOf(x.rank)) {
      for (const keepDims of [false, true]) {
        outputs[`${kind} [${x.shape}] over ${axes.join()}${keepDims ? " kept" : ""}`] = reduce(x, {
          kind,
          axes,
          keepDims,
        });
      }
    }
  }
  return outputs;
}

/** Long rows, many rows, many columns: beyond one workgroup and beyond 65 535 of them. */
function longReductions(run: ProgramRun, kind: ReduceKind): Record<string, Tensor> {
  return Object.fromEntries(
    Object.values(run.inputs).flatMap((x) =>
      [[0], [1], [0, 1]].map((axes) => [
        `${kind} [${x.shape}] over ${axes}`,
        reduce(x, { kind, axes }),
      ]),
    ),
  );
}

const LONG: readonly Shape[] = [
  [65_537, 2],
  [2, 65_537],
  [2049, 17],
  [1, 70_003],
];

function floatReduce(kind: ReduceKind): ConformanceCase {
  return contractCase(
    `reduce/${kind}`,
    `reduce ${kind} of floats is right over every set of axes, short and long`,
    [reduce],
    ["f32"],
    async (test) => {
      const { random } = test;
      await test.compare(
        inputsFor(REDUCED, (shape) => random.normal(shape)),
        (run) => everyReduction(run, kind),
      );
      await test.compare(
        inputsFor(kind === "sum" ? LONG : LONG.slice(0, 2), (shape) => random.uniform(shape, 0, 2)),
        (run) => longReductions(run, kind),
      );
    },
  );
}

function integerReduce(dtype: "i32" | "u32"): ConformanceCase {
  return contractCase(
    `reduce/${dtype}`,
    `reduce of ${dtype} is exact: sums wrap, extremes see the whole range`,
    [reduce],
    [dtype],
    async (test) => {
      for (const kind of REDUCE_KINDS) {
        await test.compare(
          inputsFor(REDUCED.slice(0, 7), (shape) => test.random.bits(shape, dtype)),
          (run) => withoutKeptAxes(run, kind),
        );
      }
      await test.compare(
        inputsFor(LONG.slice(0, 2), (shape) => test.random.bits(shape, dtype)),
        (run) => longReductions(run, "sum"),
      );
    },
  );
}

function withoutKeptAxes(run: ProgramRun, kind: ReduceKind): Record<string, Tensor> {
  return Object.fromEntries(
    Object.values(run.inputs).flatMap((x) =>
      axesOf(x.rank).map((axes) => [
        `${kind} [${x.shape}] over ${axes}`,
        reduce(x, { kind, axes }),
      ]),
    ),
  );
}

/** Rows without NaN, with one, with NaN first and last, and of NaN alone. */
function nanRows(): HostTensor {
  const nan = Number.NaN;
  const rows = [
    [1, 2, 3, -4, 0],
    [nan, 2, 3, -4, 1],
    [1, 2, 3, -4, nan],
    [nan, -3e38, nan, nan, nan],
    [nan, nan, nan, nan, nan],
    [-0, -1, nan, -2, -3],
  ];
  return hostTensor(rows.flat(), "f32", [rows.length, 5]);
}

const SUMMED: readonly { readonly shape: Shape; readonly axis: number }[] = [
  { shape: [1], axis: 0 },
  { shape: [129], axis: 0 },
  { shape: [2049], axis: 0 },
  { shape: [5, 33], axis: 1 },
  { shape: [33, 5], axis: 0 },
  { shape: [3, 65, 2], axis: 1 },
  { shape: [2, 0, 3], axis: 1 },
  { shape: [0, 4], axis: 1 },
];

function everyCumsum(run: ProgramRun): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (const [index, x] of Object.values(run.inputs).entries()) {
    const axis = SUMMED[index]?.axis ?? 0;
    for (const exclusive of [false, true]) {
      for (const reverse of [false, true]) {
        const how = `${exclusive ? " exclusive" : ""}${reverse ? " reverse" : ""}`;
        outputs[`[${x.shape}] along ${axis}${how}`] = cumsum(x, { axis, exclusive, reverse });
      }
    }
  }
  return outputs;
}

/** Cases of `reduce` and `cumsum`. */
export const reduceCases: readonly ConformanceCase[] = [
  ...REDUCE_KINDS.map(floatReduce),
  integerReduce("i32"),
  integerReduce("u32"),
  contractCase(
    "reduce/nan",
    "NaN loses to every number in max and min; of NaN alone the extreme is NaN",
    [reduce],
    ["f32"],
    async (test) => {
      await test.compare({ x: nanRows() }, ({ inputs: { x } }) => ({
        max: reduce(x, { kind: "max", axes: [1] }),
        min: reduce(x, { kind: "min", axes: [1] }),
        "max down": reduce(x, { kind: "max", axes: [0] }),
        "min down": reduce(x, { kind: "min", axes: [0] }),
      }));
      const long = generated([4099], "f32", (index) => (index === 4097 ? 3 : Number.NaN));
      await test.compare({ long }, ({ inputs: { long } }) => ({
        "max of one number": reduce(long, { kind: "max", axes: [0] }),
        "min of one number": reduce(long, { kind: "min", axes: [0] }),
      }));
    },
  ),
  contractCase(
    "reduce/empty",
    "an empty sum is 0; extremes over empty tensors exist only where nothing is left of them",
    [reduce],
    ["f32", "i32"],
    async (test) => {
      const floats = hostTensor([], "f32", [3, 0, 2]);
      const integers = hostTensor([], "i32", [0]);
      await test.compare({ floats, integers }, ({ inputs: { floats, integers } }) => ({
        inner: reduce(floats, { kind: "sum", axes: [1] }),
        outer: reduce(floats, { kind: "sum", axes: [0] }),
        all: reduce(floats, { kind: "sum", axes: [0, 1, 2], keepDims: true }),
        none: reduce(floats, { kind: "max", axes: [0] }),
        count: reduce(integers, { kind: "sum", axes: [0] }),
      }));
    },
  ),
  contractCase(
    "cumsum/floats",
    "cumsum of floats runs along any axis, from either end, with and without the element itself",
    [cumsum],
    ["f32"],
    async (test) => {
      const shapes = SUMMED.map(({ shape }) => shape);
      await test.compare(
        inputsFor(shapes, (shape) => test.random.normal(shape)),
        everyCumsum,
      );
    },
  ),
  contractCase(
    "cumsum/many-rows",
    "cumsum reaches every one of many rows and columns",
    [cumsum],
    ["i32"],
    async (test) => {
      const inputs = {
        rows: test.random.bits([65_537, 2], "i32"),
        columns: test.random.bits([2, 65_537], "i32"),
      };
      await test.compare(inputs, ({ inputs: { rows, columns } }) => ({
        rows: cumsum(rows, { axis: 1 }),
        columns: cumsum(columns, { axis: 0 }),
        long: cumsum(columns, { axis: 1 }),
      }));
    },
  ),
  ...(["i32", "u32"] as const).map((dtype) =>
    contractCase(
      `cumsum/${dtype}`,
      `cumsum of ${dtype} is exact and wraps`,
      [cumsum],
      [dtype],
      async (test) => {
        const shapes = SUMMED.map(({ shape }) => shape);
        await test.compare(
          inputsFor(shapes, (shape) => test.random.bits(shape, dtype)),
          everyCumsum,
        );
      },
    ),
  ),
];
