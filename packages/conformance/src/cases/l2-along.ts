import { type DType, type Shape, donate, putAlong, sizeOf, takeAlong } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { ALL_DTYPES, anyValues } from "./l0-support.ts";
import { MANY, dtypeCase, permuteCase } from "./l2-support.ts";

function takeCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return permuteCase(`take-along/${id}`, demand, [takeAlong], run);
}

function putCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return permuteCase(`put-along/${id}`, demand, [putAlong], run);
}

const SHAPE: Shape = [3, 5, 7];
const AXES = [0, 1, 2] as const;

/** Indices along an axis that occur once in each lane. */
function distinctAlong(
  { random }: CaseContext,
  shape: Shape,
  axis: number,
  count: number,
): HostTensor {
  const size = shape[axis] ?? 0;
  const inner = sizeOf(shape.slice(axis + 1));
  const result = shape.with(axis, count);
  const offsets = random.integers([sizeOf(shape)], 0, 1000);
  return generated(result, "i32", (index) => {
    const step = Math.floor(index / inner) % Math.max(1, count);
    const lane = Math.floor(index / (inner * Math.max(1, count))) * inner + (index % inner);
    return ((offsets.data[lane] ?? 0) + step) % size;
  });
}

const takes: readonly ConformanceCase[] = [
  ...AXES.map((axis) =>
    takeCase(
      `axis-${axis}`,
      `takeAlong takes elements along axis ${axis}, any number of times`,
      async (test) => {
        const x = test.random.normal(SHAPE);
        const size = SHAPE[axis] ?? 0;
        const indices = test.random.integers(SHAPE.with(axis, size + 4), 0, size - 1);
        await test.compare({ x, indices }, ({ inputs: { x, indices } }) => ({
          y: takeAlong(x, indices, { axis }),
        }));
      },
    ),
  ),
  ...ALL_DTYPES.map((dtype: DType) =>
    dtypeCase(
      `take-along/${dtype}`,
      `takeAlong copies elements of ${dtype} unchanged`,
      [takeAlong],
      dtype,
      async (test) => {
        const inputs = {
          x: anyValues(test.random, [9, 13], dtype),
          indices: test.random.integers([9, 5], -2, 14),
        };
        await test.compare(inputs, ({ inputs: { x, indices } }) => ({
          y: takeAlong(x, indices, { axis: 1 }),
        }));
      },
    ),
  ),
  takeCase("out-of-range", "an index outside the axis gives 0", async (test) => {
    const outside = [-1, 4, 5, 2 ** 31 - 1, -(2 ** 31), 3];
    const inputs = {
      x: test.random.uniform([2, 4], 1, 2),
      indices: hostTensor([...outside, ...outside.toReversed()], "i32", [2, 6]),
    };
    await test.compare(inputs, ({ inputs: { x, indices } }) => ({
      y: takeAlong(x, indices, { axis: 1 }),
      promised: takeAlong(x, indices, { axis: 1, unique: true }),
    }));
  }),
  takeCase("empty", "takeAlong of or by nothing is empty, or zeros", async (test) => {
    const inputs = {
      x: test.random.normal([3, 4]),
      none: hostTensor([], "i32", [3, 0]),
      bare: hostTensor([], "f32", [3, 0]),
      two: generated([3, 2], "i32", () => 0),
    };
    await test.compare(inputs, ({ inputs: { x, none, bare, two } }) => ({
      none: takeAlong(x, none, { axis: 1 }),
      zeros: takeAlong(bare, two, { axis: 1 }),
    }));
  }),
  takeCase("many", `takeAlong treats ${MANY} rows, the last too`, async (test) => {
    const inputs = {
      x: generated([MANY, 2], "i32", (index) => index),
      indices: test.random.integers([MANY, 1], 0, 1),
    };
    await test.compare(inputs, ({ inputs: { x, indices } }) => ({
      y: takeAlong(x, indices, { axis: 1 }),
    }));
  }),
];

const puts: readonly ConformanceCase[] = [
  ...AXES.map((axis) =>
    putCase(
      `axis-${axis}`,
      `putAlong puts updates along axis ${axis}, and leaves all other elements`,
      async (test) => {
        const indices = distinctAlong(test, SHAPE, axis, 2);
        const inputs = {
          x: test.random.normal(SHAPE),
          indices,
          updates: test.random.normal(indices.shape),
        };
        await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
          y: putAlong(x, indices, updates, { axis }),
        }));
      },
    ),
  ),
  ...ALL_DTYPES.map((dtype: DType) =>
    dtypeCase(
      `put-along/${dtype}`,
      `putAlong copies and puts elements of ${dtype} unchanged`,
      [putAlong],
      dtype,
      async (test) => {
        const inputs = {
          x: anyValues(test.random, [9, 13], dtype),
          indices: distinctAlong(test, [9, 13], 1, 5),
          updates: anyValues(test.random, [9, 5], dtype),
        };
        await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
          y: putAlong(x, indices, updates, { axis: 1 }),
        }));
      },
    ),
  ),
  putCase("out-of-range", "an update whose index is outside the axis is skipped", async (test) => {
    const outside = [-1, 4, 2, 5, 2 ** 31 - 1, -(2 ** 31), 0];
    const inputs = {
      x: test.random.normal([2, 4]),
      indices: hostTensor([...outside, ...outside.toReversed()], "i32", [2, 7]),
      updates: test.random.normal([2, 7]),
    };
    await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
      y: putAlong(x, indices, updates, { axis: 1 }),
    }));
  }),
  putCase("keeps-input", "putAlong leaves an x that was not donated as it was", async (test) => {
    const inputs = {
      x: test.random.normal([5, 9]),
      indices: distinctAlong(test, [5, 9], 1, 3),
      updates: test.random.normal([5, 3]),
    };
    await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
      y: putAlong(x, indices, updates, { axis: 1 }),
      x: x.reshape([45]),
    }));
  }),
  putCase("donated", "putAlong gives the same when x is donated", async (test) => {
    const inputs = {
      x: test.random.normal([33, 65]),
      indices: distinctAlong(test, [33, 65], 1, 7),
      updates: test.random.normal([33, 7]),
    };
    await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
      y: putAlong(donate(x), indices, updates, { axis: 1 }),
    }));
  }),
  putCase("donated-but-held", "what still holds a donated x sees no change", async (test) => {
    const inputs = {
      x: test.random.normal([5, 9]),
      indices: distinctAlong(test, [5, 9], 1, 3),
      updates: test.random.normal([5, 3]),
    };
    await test.compare(inputs, ({ inputs: { x, indices, updates } }) => {
      const held = x.reshape([45]);
      return { y: putAlong(donate(x), indices, updates, { axis: 1 }), held };
    });
  }),
  putCase("nothing", "putting no updates gives x", async (test) => {
    const inputs = {
      x: test.random.normal([5, 9]),
      indices: hostTensor([], "i32", [5, 0]),
      updates: hostTensor([], "f32", [5, 0]),
    };
    await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
      y: putAlong(x, indices, updates, { axis: 1 }),
    }));
  }),
  putCase("many", `putAlong treats ${MANY} rows, the last too`, async (test) => {
    const inputs = {
      x: generated([MANY, 2], "i32", (index) => -index),
      indices: test.random.integers([MANY, 1], 0, 1),
      updates: generated([MANY, 1], "i32", (index) => index + 1),
    };
    await test.compare(inputs, ({ inputs: { x, indices, updates } }) => ({
      y: putAlong(x, indices, updates, { axis: 1 }),
    }));
  }),
];

/** Elements along an axis by index. */
export const alongCases: readonly ConformanceCase[] = [...takes, ...puts];
