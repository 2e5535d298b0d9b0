import { type Backend, type Tensor, groupedMatmul, groupedMatmulGradWeights } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "../../index.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

interface Case {
  readonly rows: number;
  readonly inner: number;
  readonly outer: number;
  readonly offsets: readonly number[];
  readonly index?: readonly number[];
}

/** A row index of so many rows, some of them outside 0…rows−1. */
function someIndex(length: number, rows: number): readonly number[] {
  return Array.from({ length }, (_, i) => ((i * 7) % (rows + 2)) - 1);
}

const CASES: readonly Case[] = [
  { rows: 140, inner: 68, outer: 36, offsets: [0, 0, 70, 71, 140], index: someIndex(140, 140) },
  { rows: 5, inner: 12, outer: 9, offsets: [1, 3, 3, 4] },
  { rows: 80, inner: 67, outer: 130, offsets: [3, 70, 75] },
  { rows: 1, inner: 3, outer: 2, offsets: [0, 1] },
  { rows: 9, inner: 7, outer: 5, offsets: [2, 2, 5, 8, 8] },
  { rows: 0, inner: 4, outer: 4, offsets: [0, 0] },
  { rows: 0, inner: 4, outer: 4, offsets: [0, 2], index: [0, 1] },
  { rows: 4, inner: 0, outer: 4, offsets: [0, 3] },
  { rows: 4, inner: 4, outer: 0, offsets: [0, 3] },
  { rows: 6, inner: 4, outer: 3, offsets: [0] },
  { rows: 3, inner: 65, outer: 8, offsets: [0, 9, 20], index: someIndex(20, 3) },
  { rows: 300, inner: 4, outer: 4, offsets: [0, ...Array.from({ length: 150 }, (_, g) => 2 * g)] },
  { rows: 400, inner: 34, outer: 401, offsets: [0, 390, 400], index: someIndex(400, 300) },
];

function inputs(
  backend: Backend,
  { rows, inner, outer, offsets, index }: Case,
  transposed: boolean,
) {
  const groups = offsets.length - 1;
  const i32 = (values: readonly number[]): Tensor => backend.tensor(Int32Array.from(values));
  return {
    x: randomTensor(backend, 1, [rows, inner]),
    weights: randomTensor(backend, 2, transposed ? [groups, inner, outer] : [groups, outer, inner]),
    dy: randomTensor(backend, 3, [index?.length ?? rows, outer]),
    offsets: i32(offsets),
    index: index && i32(index),
  };
}

/** All three products of a case. */
function products(backend: Backend, sizes: Case, transposed: boolean): Tensor[] {
  const { x, weights, dy, offsets, index } = inputs(backend, sizes, transposed);
  return [
    groupedMatmul(x, weights, offsets, index, { transposed }),
    groupedMatmulGradWeights(x, dy, offsets, index, { transposed }),
  ];
}

describe.each([false, true])("grouped products, exact %s", (exact) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ exact, threads: exact ? 2 : 1 });
  });
  afterAll(() => pair.dispose());

  it.each(CASES)("%j", async (sizes) => {
    for (const transposed of [false, true]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other, so that a failure is named
      await pair.agree((backend) => products(backend, sizes, transposed), 3e-6);
    }
  });

  it("reads nothing outside the window, and NaN of a row that stands for none", async () => {
    const { wasm } = pair;
    const x = wasm.tensor([NaN, 1, 2, NaN], { shape: [4, 1] });
    const weights = wasm.tensor([3, 4], { shape: [2, 1, 1] });
    const offsets = wasm.tensor(Int32Array.of(1, 2, 3));
    expect([...(await groupedMatmul(x, weights, offsets).read())]).toEqual([0, 3, 8, 0]);
    const dy = wasm.tensor([NaN, 1, 1, NaN], { shape: [4, 1] });
    expect([...(await groupedMatmulGradWeights(x, dy, offsets).read())]).toEqual([1, 2]);
    const picked = groupedMatmulGradWeights(
      wasm.tensor([1, 2], { shape: [2, 1] }),
      wasm.tensor([NaN, 10, 100, NaN], { shape: [4, 1] }),
      wasm.tensor(Int32Array.of(0, 4)),
      wasm.tensor(Int32Array.of(7, 0, 1, -1)),
    );
    expect([...(await picked.read())]).toEqual([210]);
  });

  it("keeps NaN in its own row", async () => {
    const sizes: Case = { rows: 12, inner: 8, outer: 4, offsets: [0, 5, 11] };
    await pair.agree((backend) => {
      const values = Float32Array.from({ length: 96 }, (_, i) => (i >> 3 === 4 ? NaN : i % 5));
      const { weights, offsets } = inputs(backend, sizes, false);
      return groupedMatmul(backend.tensor(values, { shape: [12, 8] }), weights, offsets);
    });
  });
});

describe("the bits of grouped products", () => {
  it("are the same for every size of a group, and with any number of threads", async () => {
    const [rows, inner, outer] = [150, 401, 70];
    const seen = { rows: new Set<string>(), weights: new Set<string>() };
    for (const [threads, before] of [
      [1, 0],
      [2, 3],
      [3, 64],
      [1, 139],
    ] as const) {
      // oxlint-disable-next-line no-await-in-loop -- one backend at a time
      const backend = await create({ threads });
      const sizes = { rows, inner, outer, offsets: [0, before, before + 11, rows] };
      const whole = inputs(backend, { ...sizes, offsets: [0, 1] }, false);
      // Three groups with the same weights; the middle one, moved about, with the same rows.
      const order = Array.from({ length: rows }, (_, r) => (r + rows - before) % rows);
      const offsets = backend.tensor(Int32Array.from(sizes.offsets));
      const index = backend.tensor(Int32Array.from(order));
      const matrix = await whole.weights.read(); // oxlint-disable-line no-await-in-loop
      const weights = backend.tensor(Float32Array.from([...matrix, ...matrix, ...matrix]), {
        shape: [3, outer, inner],
      });
      const y = await groupedMatmul(whole.x, weights, offsets, index).read(); // oxlint-disable-line no-await-in-loop
      seen.rows.add(y.slice(before * outer, (before + 11) * outer).join());
      const dy = backend.tensor(Float32Array.from(order.flatMap((r) => rowOf(r, outer))), {
        shape: [rows, outer],
      });
      const dw = await groupedMatmulGradWeights(whole.x, dy, offsets, index).read(); // oxlint-disable-line no-await-in-loop
      seen.weights.add(dw.slice(outer * inner, 2 * outer * inner).join());
      await backend.dispose(); // oxlint-disable-line no-await-in-loop
    }
    expect([seen.rows.size, seen.weights.size]).toEqual([1, 1]);
  });
});

/** A row of some gradient. */
function rowOf(row: number, width: number): number[] {
  return Array.from({ length: width }, (_, column) => Math.sin(row * 13 + column));
}
