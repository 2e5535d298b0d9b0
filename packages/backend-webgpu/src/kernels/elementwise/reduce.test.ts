import {
  type ReduceKind,
  type Shape,
  type Tensor,
  cumsum,
  hostBits,
  randomKey,
  reduce,
  sizeOf,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { pairChecks, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

const KINDS: readonly ReduceKind[] = ["sum", "max", "min"];

const CASES: readonly (readonly [Shape, readonly number[]])[] = [
  [[], []],
  [[7], [0]],
  [[7], []],
  [
    [1, 5, 1],
    [0, 2],
  ],
  [[4, 64], [1]],
  [[4, 65], [1]],
  [[3, 260], [1]],
  [[3, 300], [1]],
  [[2, 5000], [1]],
  [[9000], [0]],
  [[300, 8], [0]],
  [[300, 7], [0]],
  [[600, 3], [0]],
  [[5000, 2], [0]],
  [[3, 70, 4], [1]],
  [[3, 70, 5], [1]],
  [
    [3, 4, 5],
    [0, 1],
  ],
  [
    [3, 4, 5],
    [1, 2],
  ],
  [
    [3, 4, 5],
    [0, 1, 2],
  ],
  [
    [3, 4, 5],
    [0, 2],
  ],
  [
    [2, 3, 4, 5, 6],
    [0, 2, 4],
  ],
  [
    [2, 3, 4, 5, 6],
    [1, 3],
  ],
  [
    [2, 1, 4, 1, 6],
    [0, 1, 2],
  ],
  [[130, 200], [1]],
  [[200, 130], [0]],
];

describe.skipIf(!gpu.available)("reduce and cumsum", () => {
  const pairs = pairChecks(8192);
  const { check, checkBoth } = pairs;

  it.each(CASES)("%j over %j", async (shape, axes) =>
    checkBoth((backend) => {
      const floats = randomTensor(backend, 1, shape);
      const bits = hostBits(randomKey(2), sizeOf(shape));
      const signed = backend.tensor(Int32Array.from(bits), { shape });
      const unsigned = backend.tensor(bits, { shape });
      return KINDS.flatMap((kind) => [
        reduce(floats, { kind, axes }),
        reduce(signed, { kind, axes, keepDims: true }),
        reduce(unsigned, { kind, axes }),
      ]);
    }, 1e-5),
  );

  it("has exact extremes: NaN loses, signs and subnormals count", async () => {
    const rows = [
      [NaN, 1, -2],
      [NaN, NaN, NaN],
      [NaN, -Infinity, -Infinity],
      [-1, NaN, -3],
      [1e-42, 2e-42, -1e-42],
      [Infinity, 3e38, NaN],
    ];
    const values = Float32Array.from(rows.flat());
    await check((backend) => {
      const x = backend.tensor(values, { shape: [6, 3] });
      return (["max", "min"] as const).flatMap((kind) => [
        reduce(x, { kind, axes: [0] }),
        reduce(x, { kind, axes: [1] }),
        reduce(x, { kind, axes: [0, 1] }),
      ]);
    }, 0);
  });

  it("gives NaN where a sum holds one, and nowhere else", async () => {
    await check((backend) => {
      const values = Float32Array.from({ length: 400 }, (_, index) =>
        index === 123 ? NaN : index,
      );
      const x = backend.tensor(values, { shape: [20, 20] });
      return [reduce(x, { kind: "sum", axes: [0] }), reduce(x, { kind: "sum", axes: [1] })];
    });
  });

  it("sums nothing to 0", async () => {
    await check((backend) => {
      const x = backend.tensor(new Float32Array(0), { shape: [3, 0, 2] });
      return [
        reduce(x, { kind: "sum", axes: [1] }),
        reduce(x, { kind: "sum", axes: [0, 1, 2] }),
        reduce(x, { kind: "max", axes: [0] }),
      ];
    });
  });

  it.each([65, 300, 5000])("has one order for a length of %i, wherever it lies", async (length) => {
    // Rows alone, among others, and as columns alone and among others: the same bits.
    const row = randomTensor(pairs.whole.gpu, 5, [length]);
    const values = await row.read();
    const layouts: Tensor[] = [];
    for (const count of [1, 2, 4, 300]) {
      const rows = new Float32Array(length * count);
      const columns = new Float32Array(length * count);
      for (let index = 0; index < length; index++) {
        for (let copy = 0; copy < count; copy++) {
          rows[copy * length + index] = values[index] ?? 0;
          columns[index * count + copy] = values[index] ?? 0;
        }
      }
      layouts.push(
        reduce(pairs.whole.gpu.tensor(rows, { shape: [count, length] }), {
          kind: "sum",
          axes: [1],
        }),
        reduce(pairs.whole.gpu.tensor(columns, { shape: [length, count] }), {
          kind: "sum",
          axes: [0],
        }),
      );
    }
    const sums = await Promise.all(layouts.map((sum) => sum.read()));
    const bits = new Set(sums.flatMap((sum) => [...sum]));
    expect(bits.size).toBe(1);
  });

  it("adds long rows of equal signs as blocks do", async () => {
    const length = 200_000;
    const x = pairs.whole.gpu.tensor(new Float32Array(length).fill(0.1));
    const [sum = 0] = await reduce(x, { kind: "sum", axes: [0] }).read();
    const wanted = Math.fround(0.1) * length;
    expect(Math.abs(sum - wanted) / wanted).toBeLessThan(1e-6);
  });

  const LINES: readonly (readonly [Shape, number])[] = [
    [[5], 0],
    [[64], 0],
    [[65], 0],
    [[1000], 0],
    [[5000], 0],
    [[3, 200, 4], 1],
    [[200, 3], 0],
    [[3, 200], 1],
    [[300, 70], 1],
    [[0, 4], 1],
    [[4, 0], 1],
    [[2, 3, 4], 0],
  ];
  it.each(LINES)("running sums of %j along %i", async (shape, axis) =>
    checkBoth((backend) => {
      const bits = hostBits(randomKey(3), sizeOf(shape));
      const tensors = [
        randomTensor(backend, 4, shape),
        backend.tensor(Int32Array.from(bits), { shape }),
        backend.tensor(bits, { shape }),
      ];
      return tensors.flatMap((x) => [
        cumsum(x, { axis }),
        cumsum(x, { axis, exclusive: true }),
        cumsum(x, { axis, reverse: true }),
        cumsum(x, { axis, exclusive: true, reverse: true }),
      ]);
    }, 1e-5),
  );

  it.each([70, 1000])(
    "running sums of %i elements have one order for any number of lines",
    async (length) => {
      const values = await randomTensor(pairs.whole.gpu, 6, [length]).read();
      const alone = await cumsum(pairs.whole.gpu.tensor(values), { axis: 0 }).read();
      const many = new Float32Array(length * 300);
      for (let line = 0; line < 300; line++) many.set(values, line * length);
      const together = await cumsum(pairs.whole.gpu.tensor(many, { shape: [300, length] }), {
        axis: 1,
      }).read();
      expect(together.subarray(length * 299)).toEqual(alone);
    },
  );

  it("a running sum of a very long axis stays exact for whole numbers", async () => {
    const length = 300_000;
    const ones = pairs.whole.gpu.tensor(new Float32Array(length).fill(1));
    const sums = await cumsum(ones, { axis: 0, exclusive: true }).read();
    expect(sums.findIndex((value, index) => value !== index)).toBe(-1);
  });
});
