import { type Backend, type Tensor, groupedMatmul, groupedMatmulGradWeights } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tiling } from "../../context.ts";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();
/** Compiling takes longest, and longer still while other tests use the cores. */
const PATIENCE = { timeout: 180_000 };

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

/** What kernels in workgroup memory are tried on as well, which compile slowly. */
const TILE_CASES: readonly Case[] = [
  { rows: 140, inner: 68, outer: 36, offsets: [0, 0, 70, 71, 140], index: someIndex(140, 140) },
  { rows: 5, inner: 12, outer: 9, offsets: [1, 3, 3, 4] },
];

const CASES: readonly Case[] = [
  ...TILE_CASES,
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

describe.skipIf(!gpu.available).each<Tiling>(["registers", "workgroup"])(
  "grouped products, %s",
  PATIENCE,
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each(tiling === "registers" ? CASES : TILE_CASES)("%j", async (sizes) => {
      for (const transposed of tiling === "registers" ? [false, true] : [false]) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other, so that a failure is named
        expect(
          await pair.agree((backend) => {
            const { x, weights, dy, offsets, index } = inputs(backend, sizes, transposed);
            return [
              groupedMatmul(x, weights, offsets, index, { transposed }),
              groupedMatmulGradWeights(x, dy, offsets, index, { transposed }),
            ];
          }, 1e-5),
        ).toBeUndefined();
      }
    });

    if (tiling === "workgroup") return;

    it("reads nothing outside the window, and NaN of a row that stands for none", async () => {
      const { gpu: backend } = pair;
      const x = backend.tensor([NaN, 1, 2, NaN], { shape: [4, 1] });
      const weights = backend.tensor([3, 4], { shape: [2, 1, 1] });
      const offsets = backend.tensor(Int32Array.of(1, 2, 3));
      expect([...(await groupedMatmul(x, weights, offsets).read())]).toEqual([0, 3, 8, 0]);
      const dy = backend.tensor([NaN, 1, 1, NaN], { shape: [4, 1] });
      expect([...(await groupedMatmulGradWeights(x, dy, offsets).read())]).toEqual([1, 2]);
      const picked = groupedMatmulGradWeights(
        backend.tensor([1, 2], { shape: [2, 1] }),
        backend.tensor([NaN, 10, 100, NaN], { shape: [4, 1] }),
        backend.tensor(Int32Array.of(0, 4)),
        backend.tensor(Int32Array.of(7, 0, 1, -1)),
      );
      expect([...(await picked.read())]).toEqual([210]);
    });

    it("keeps NaN in its own row", async () => {
      const sizes: Case = { rows: 12, inner: 8, outer: 4, offsets: [0, 5, 11] };
      expect(
        await pair.agree((backend) => {
          const values = Float32Array.from({ length: 96 }, (_, i) => (i >> 3 === 4 ? NaN : i % 5));
          const { weights, offsets } = inputs(backend, sizes, false);
          return groupedMatmul(backend.tensor(values, { shape: [12, 8] }), weights, offsets);
        }, 1e-5),
      ).toBeUndefined();
    });
  },
);

describe.skipIf(!gpu.available)("grouped products", PATIENCE, () => {
  it("give the same bits in every tiling, group size and number of rows", async () => {
    const [inner, outer, rows] = [150, 12, 80];
    const seen = { rows: new Set<string>(), weights: new Set<string>() };
    for (const tiling of ["registers", "workgroup"] as const) {
      // oxlint-disable-next-line no-await-in-loop -- one backend at a time
      const pair = await createPair({ tiling, debug: false });
      const { gpu: backend } = pair;
      const x = randomTensor(backend, 1, [rows, inner]);
      const weights = randomTensor(backend, 2, [3, outer, inner]);
      const dy = randomTensor(backend, 3, [rows, outer]);
      const offsets = backend.tensor(Int32Array.of(0, 0, 0, rows));
      const alone = backend.tensor(Int32Array.of(0, 0, 0, 1));
      const index = backend.tensor(Int32Array.of(70));
      // oxlint-disable-next-line no-await-in-loop -- one backend at a time
      const [all, one, gradient] = await Promise.all([
        groupedMatmul(x, weights, offsets).read(),
        groupedMatmul(x, weights, alone, index).read(),
        groupedMatmulGradWeights(x, dy, offsets).read(),
      ]);
      seen.rows.add(all.slice(70 * outer, 71 * outer).join());
      seen.rows.add(one.join());
      seen.weights.add(gradient.join());
      // oxlint-disable-next-line no-await-in-loop -- one backend at a time
      await pair.dispose();
    }
    expect([seen.rows.size, seen.weights.size]).toEqual([1, 1]);
  });

  it.each([1024, 2048])("work in windows of matrices in segments of %i bytes", async (bytes) => {
    // Matrices of 384 bytes, 20 of them: some lie across two segments.
    const pair = await createPair({ segmentBytes: bytes, limits: "default" });
    const sizes: Case = {
      rows: 30,
      inner: 8,
      outer: 12,
      offsets: [1, 2, 4, 4, 6, 8, 9, 13, 13, 14, 16, 17, 18, 19, 20, 20, 21, 24, 28, 28, 29],
      index: someIndex(30, 30),
    };
    for (const transposed of [false, true]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      expect(
        await pair.agree((backend) => {
          const { x, weights, dy, offsets, index } = inputs(backend, sizes, transposed);
          return [
            groupedMatmul(x, weights, offsets, index, { transposed }),
            groupedMatmulGradWeights(x, dy, offsets, index, { transposed }),
          ];
        }, 1e-5),
      ).toBeUndefined();
    }
    await pair.dispose();
  });

  it("name the limit where one matrix alone has too many segments", async () => {
    const pair = await createPair({ segmentBytes: 256, limits: "default" });
    const x = randomTensor(pair.gpu, 1, [2, 32]);
    const weights = randomTensor(pair.gpu, 2, [1, 32, 32]);
    const offsets = pair.gpu.tensor(Int32Array.of(0, 2));
    expect(() => groupedMatmul(x, weights, offsets)).toThrow(/maxStorageBuffers|bindings/);
    await pair.dispose();
  });
});
