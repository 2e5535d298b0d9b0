import { matmul } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

/** Shapes of the factors as they are multiplied, and which of them are stored transposed. */
interface Case {
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly transposed?: "a" | "b" | "ab";
}

const CASES: readonly Case[] = [
  { a: [1, 1], b: [1, 1] },
  { a: [7, 5], b: [5, 9] },
  { a: [6, 8], b: [8, 8] },
  { a: [1, 64], b: [64, 100] },
  { a: [2, 30], b: [30, 77] },
  { a: [3, 30], b: [30, 24] },
  { a: [13, 401], b: [401, 31] },
  { a: [128, 1000], b: [1000, 40] },
  { a: [0, 5], b: [5, 3] },
  { a: [4, 5], b: [5, 0] },
  { a: [4, 0], b: [0, 3] },
  { a: [0, 3, 4], b: [4, 5] },
  { a: [17, 23], b: [23, 19], transposed: "a" },
  { a: [17, 23], b: [23, 19], transposed: "b" },
  { a: [17, 23], b: [23, 19], transposed: "ab" },
  { a: [130, 3], b: [3, 2], transposed: "ab" },
  { a: [3, 700], b: [700, 5], transposed: "a" },
  { a: [2, 3, 4, 5], b: [2, 3, 5, 6] },
  { a: [2, 3, 4, 5], b: [2, 3, 5, 6], transposed: "ab" },
  { a: [2, 1, 4, 5], b: [3, 5, 6] },
  { a: [3, 4, 5], b: [2, 1, 5, 6], transposed: "a" },
  { a: [2, 3, 4, 5], b: [5, 6] },
  { a: [2, 3, 4, 5], b: [5, 6], transposed: "ab" },
  { a: [4, 5], b: [2, 5, 6], transposed: "b" },
  { a: [1, 1, 9, 5], b: [1, 1, 5, 6] },
];

/** Shapes as they are stored. */
function stored({ a, b, transposed }: Case): {
  readonly shapes: readonly [readonly number[], readonly number[]];
  readonly attributes: { readonly transposeA: boolean; readonly transposeB: boolean };
} {
  const swap = (shape: readonly number[]): number[] => [
    ...shape.slice(0, -2),
    shape.at(-1) ?? 0,
    shape.at(-2) ?? 0,
  ];
  const transposeA = transposed?.includes("a") ?? false;
  const transposeB = transposed?.includes("b") ?? false;
  return {
    shapes: [transposeA ? swap(a) : a, transposeB ? swap(b) : b],
    attributes: { transposeA, transposeB },
  };
}

describe.each([false, true])("matmul, exact %s", (exact) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ exact, threads: exact ? 2 : 1 });
  });
  afterAll(() => pair.dispose());

  it.each(CASES)("%j", async (given) => {
    const { shapes, attributes } = stored(given);
    await pair.agree(
      (backend) =>
        matmul(
          randomTensor(backend, 1, shapes[0]),
          randomTensor(backend, 2, shapes[1]),
          attributes,
        ),
      3e-6,
    );
  });
});

describe("the bits of a product", () => {
  it("are those of a row alone, whatever the number of rows", async () => {
    const { wasm, dispose } = await createPair({ threads: 1 });
    const [inner, columns] = [777, 45];
    const b = randomTensor(wasm, 2, [inner, columns]);
    const a = randomTensor(wasm, 1, [300, inner]);
    const all = await matmul(a, b).read();
    const host = await a.read();
    for (const rows of [1, 2, 3, 4, 5, 6, 7, 8, 13, 121, 250]) {
      const some = host.slice(0, rows * inner);
      const part = await matmul(wasm.tensor(some, { shape: [rows, inner] }), b).read();
      expect(part).toEqual(all.slice(0, rows * columns));
    }
    await dispose();
  });

  it("are the same with any number of threads", async () => {
    const results = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const { wasm, dispose } = await createPair({ threads });
        const a = randomTensor(wasm, 1, [250, 390]);
        const b = randomTensor(wasm, 2, [390, 333]);
        const c = randomTensor(wasm, 3, [250, 77]);
        const found = [await matmul(a, b).read(), await matmul(a, c, { transposeA: true }).read()];
        await dispose();
        return found;
      }),
    );
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  it("follow the right factor when it changes", async () => {
    const { wasm, dispose } = await createPair({ threads: 1 });
    const a = wasm.tensor([1, 2], { shape: [1, 2] });
    for (const [b, wanted] of [
      [[1, 1], 3],
      [[2, 1], 4],
    ] as const) {
      const product = matmul(a, wasm.tensor(b, { shape: [2, 1] }));
      expect([...(await product.read())]).toEqual([wanted]); // oxlint-disable-line no-await-in-loop
      product.dispose();
    }
    await dispose();
  });
});
