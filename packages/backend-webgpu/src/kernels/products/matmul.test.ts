import { type Shape, type Tensor, matmul } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tiling } from "../../context.ts";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

const LAYOUTS = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

type Case = readonly [batchA: Shape, batchB: Shape, rows: number, inner: number, columns: number];

/** Kernels in workgroup memory take a software adapter seconds to compile: each of these a few. */
const TILE_CASES: readonly Case[] = [
  [[], [], 3, 70, 9],
  [[2], [2], 3, 68, 8],
  [[], [], 70, 132, 68],
];

const CASES: readonly Case[] = [
  ...TILE_CASES,
  [[], [], 1, 1, 1],
  [[], [], 1, 200, 40],
  [[], [], 8, 64, 33],
  [[], [], 17, 65, 66],
  [[], [], 33, 16, 129],
  [[], [], 70, 130, 67],
  [[], [], 0, 3, 4],
  [[], [], 3, 0, 4],
  [[], [], 3, 4, 0],
  [[3], [], 5, 12, 8],
  [[2], [2], 3, 5, 6],
  [[2], [1], 3, 5, 6],
  [[], [3], 2, 4, 3],
  [[2, 1], [3], 3, 2, 5],
  [[2, 1, 2], [1, 3, 2], 6, 8, 4],
  [[0], [], 2, 2, 2],
];

/** Compiling takes longest, and longer still while other tests use the cores. */
const PATIENCE = { timeout: 180_000 };

describe.skipIf(!gpu.available).each<Tiling>(["registers", "workgroup"])(
  "matmul, %s",
  PATIENCE,
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each(tiling === "registers" ? CASES : TILE_CASES)(
      "a %j × b %j, %i × %i × %i",
      async (batchA, batchB, rows, inner, columns) => {
        for (const [transposeA, transposeB] of tiling === "registers"
          ? LAYOUTS
          : LAYOUTS.slice(1, 2)) {
          const shapeA = [...batchA, ...(transposeA ? [inner, rows] : [rows, inner])];
          const shapeB = [...batchB, ...(transposeB ? [columns, inner] : [inner, columns])];
          // oxlint-disable-next-line no-await-in-loop -- one after the other, so that a failure is named
          expect(
            await pair.agree(
              (backend) =>
                matmul(randomTensor(backend, 1, shapeA), randomTensor(backend, 2, shapeB), {
                  transposeA,
                  transposeB,
                }),
              1e-5,
            ),
          ).toBeUndefined();
        }
      },
    );

    it("adds in blocks of 64 along k, each from zero, to the bit", async () => {
      const inner = 200;
      const a = randomTensor(pair.gpu, 3, [1, inner]);
      const b = randomTensor(pair.gpu, 4, [1, inner]);
      const [left, right] = [await a.read(), await b.read()];
      const found = (await matmul(a, b, { transposeB: true }).read())[0];
      // Fused or not is the adapter's choice.
      const sums = [true, false].map((fused) => {
        let total = 0;
        for (let block = 0; block < inner; block += 64) {
          let sum = 0;
          for (let k = block; k < Math.min(block + 64, inner); k++) {
            const product = (left[k] ?? 0) * (right[k] ?? 0);
            sum = Math.fround((fused ? product : Math.fround(product)) + sum);
          }
          total = Math.fround(total + sum);
        }
        return total;
      });
      expect(sums).toContain(found);
    });
  },
);

describe.skipIf(!gpu.available)("matmul", PATIENCE, () => {
  it("has the same bits in every tiling, batch and number of rows", async () => {
    const rows = 70;
    const [inner, columns] = [150, 41];
    const seen = new Set<string>();
    for (const tiling of ["registers", "workgroup"] as const) {
      // oxlint-disable-next-line no-await-in-loop -- one backend at a time
      const pair = await createPair({ tiling, debug: false });
      const x = await randomTensor(pair.gpu, 1, [rows, inner]).read();
      const b = randomTensor(pair.gpu, 2, [columns, inner]);
      for (const count of [1, 2, 8, 9, 70]) {
        const a = pair.gpu.tensor(x.slice(0, count * inner) as Float32Array, {
          shape: [count, inner],
        });
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const y = await matmul(a, b, { transposeB: true }).read();
        seen.add(y.slice(0, columns).join());
      }
      // oxlint-disable-next-line no-await-in-loop -- one backend at a time
      await pair.dispose();
    }
    expect(seen.size).toBe(1);
  });

  it("keeps NaN in its own row", async () => {
    const pair = await createPair();
    expect(
      await pair.agree((backend) => {
        const values = Float32Array.from({ length: 9 * 66 }, (_, i) => (i === 70 ? NaN : i % 7));
        return matmul(
          backend.tensor(values, { shape: [9, 66] }),
          randomTensor(backend, 1, [66, 5]),
        );
      }, 1e-5),
    ).toBeUndefined();
    await pair.dispose();
  });

  it.each<Tiling>(["registers", "workgroup"])("reads tensors in segments, %s", async (tiling) => {
    const pair = await createPair({ tiling, segmentBytes: 1024, limits: "default" });
    for (const rows of tiling === "registers" ? [10] : [3]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      expect(
        await pair.agree(
          (backend) =>
            matmul(randomTensor(backend, 1, [rows, 40]), randomTensor(backend, 2, [20, 40]), {
              transposeB: true,
            }),
          1e-5,
        ),
      ).toBeUndefined();
    }
    await pair.dispose();
  });

  it("works in pieces on factors and products in more segments than can be bound", async () => {
    const pair = await createPair({ segmentBytes: 8192, limits: "default" });
    expect(
      await pair.agree((backend) => {
        // As logits of a large vocabulary and their gradients.
        const x = randomTensor(backend, 1, [68, 16]);
        const table = randomTensor(backend, 2, [400, 16]);
        const logits = matmul(x, table, { transposeB: true });
        const [long, other] = [3, 4].map((seed) => randomTensor(backend, seed, [300, 32]));
        return [
          logits,
          matmul(logits, table),
          matmul(long as Tensor, other as Tensor, { transposeA: true }),
        ];
      }, 1e-5),
    ).toBeUndefined();
    await pair.dispose();
  });

  it("names the limit where pieces do not help", async () => {
    const pair = await createPair({ segmentBytes: 256, limits: "default" });
    const wide = randomTensor(pair.gpu, 1, [4, 1000]);
    expect(() => matmul(wide, wide, { transposeB: true })).toThrow(/bindings/);
    await pair.dispose();
  });

  it("adds in the same order in pieces", async () => {
    const sums = [4096, 2 ** 20].map(async (segmentBytes) => {
      const pair = await createPair({ segmentBytes, limits: "default" });
      const x = randomTensor(pair.gpu, 1, [4, 400]);
      const table = randomTensor(pair.gpu, 2, [400, 32]);
      const y = await matmul(x, table).read();
      await pair.dispose();
      return y.join();
    });
    const [pieces, whole] = await Promise.all(sums);
    expect(pieces).toBe(whole);
  });
});
