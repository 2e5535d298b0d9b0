import {
  type Backend,
  type LinearAttributes,
  type ProductFormat,
  type Tensor,
  cast,
  concat,
  linear,
  productFormats,
  slice,
  storedFormat,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "../index.ts";
import { randomCodes } from "../testing/codes.ts";
import { type Pair, createPair, randomTensor } from "../testing/oracle.ts";

let pair: Pair;

beforeAll(async () => {
  pair = await createPair({ threads: 2 });
});

afterAll(() => pair.dispose());

const bitsOf = async (tensor: Tensor): Promise<Uint32Array> => {
  const values = (await tensor.read()) as Float32Array;
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
};

/** A weight, and how it is held. */
type Held = readonly [weight: Tensor, scales: Tensor | undefined, attributes: LinearAttributes];

const KINDS = ["f32", "f16", "bf16", ...productFormats] as const;
type HeldKind = (typeof KINDS)[number];

function weightOf(backend: Backend, kind: HeldKind, rows: number, inner: number): Held {
  if (kind === "f32" || kind === "f16" || kind === "bf16") {
    const numbers = randomTensor(backend, 5, [rows, inner]);
    return [kind === "f32" ? numbers : cast(numbers, { dtype: kind }), undefined, {}];
  }
  const format: ProductFormat = kind;
  return [...randomCodes(backend, 5, storedFormat(format), [rows, inner]), { format }];
}

const product = (x: Tensor, [weight, scales, attributes]: Held): Tensor =>
  linear(x, weight, scales, attributes);

const inBlocks = (kind: HeldKind): boolean => kind.includes("block32") || kind === "mxfp4";

describe.each(KINDS)("linear with a weight in %s", (kind) => {
  const inners = inBlocks(kind) ? [32, 96, 160] : [1, 37, 96];
  const cases = inners.flatMap((inner) =>
    [1, 7, 40, 130].flatMap((rows) =>
      [[inner], [1, inner], [2, 3, inner], [13, inner], [70, inner]].map(
        (shape) => [`[${shape}] through [${rows}, ${inner}]`, shape, rows, inner] as const,
      ),
    ),
  );
  it.each(cases)("gives the oracle's numbers: %s", async (_, shape, rows, inner) => {
    await pair.agree(
      (backend) => product(randomTensor(backend, 3, shape), weightOf(backend, kind, rows, inner)),
      // Errors are measured by the largest of a row, which few sums may all be far below.
      rows < 8 || kind === "mxfp4" ? 1e-4 : 2e-6,
    );
    expect(pair.wasm.record()["linear"]).toMatchObject({ decomposed: 0 });
  });

  it("gives a row the same bits alone and among others, on any number of threads", async () => {
    const run = (backend: Backend): readonly [Tensor, Tensor] => {
      const held = weightOf(backend, kind, 520, 64);
      const x = randomTensor(backend, 3, [29, 64]);
      const rows = Array.from({ length: 29 }, (_, row) =>
        product(slice(x, { starts: [row, 0], sizes: [1, 64] }), held),
      );
      return [product(x, held), concat(...rows, { axis: 0 })];
    };
    const [together, alone] = run(pair.wasm);
    expect(await bitsOf(alone)).toEqual(await bitsOf(together));
    const single = await create({ threads: 1 });
    expect(await bitsOf(run(single)[0])).toEqual(await bitsOf(together));
    await single.dispose();
  });

  it("keeps a NaN in its row", async () => {
    const inner = 64;
    const numbers = new Float32Array(3 * inner).fill(0.5);
    numbers[inner + 5] = Number.NaN;
    const x = pair.wasm.tensor(numbers, { shape: [3, inner] });
    const y = await product(x, weightOf(pair.wasm, kind, 9, inner)).read();
    expect([...y].map(Number.isNaN)).toEqual([...y].map((_, place) => Math.trunc(place / 9) === 1));
  });
});

describe.each(["q8_block32_a8", "q4_block32_a8"] as const)("rows that %s rounds", (format) => {
  const inner = 64;
  const cases: readonly (readonly [string, (place: number) => number])[] = [
    ["zeros", () => 0],
    ["the largest steps", (place) => (place % 2 === 0 ? 127 : -127)],
    ["only the largest", () => 127],
    ["halves, which go to even", (place) => (place % 32 === 0 ? 127 : (place % 16) - 7.5)],
    ["tiny numbers", (place) => ((place % 7) - 3) * 1e-42],
    ["huge numbers", (place) => ((place % 7) - 3) * 1e30],
  ];
  it.each(cases)("%s", async (_, value) => {
    await pair.agree((backend) => {
      const x = backend.tensor(
        Float32Array.from({ length: 2 * inner }, (__, place) => value(place)),
        { shape: [2, inner] },
      );
      return product(x, weightOf(backend, format, 24, inner));
    }, 2e-6);
  });

  it("takes codes of the lowest and highest number", async () => {
    await pair.agree((backend) => {
      const bytes = format === "q4_block32_a8" ? inner / 2 : inner;
      const codes = Uint8Array.from({ length: 2 * bytes }, (_, place) => (place < bytes ? 0 : 255));
      const x = Float32Array.from({ length: inner }, (_, place) => (place % 3 === 0 ? -127 : 127));
      return product(backend.tensor(x, { shape: [1, inner] }), [
        backend.tensor(codes, { shape: [2, bytes] }),
        backend.tensor(new Float32Array(4).fill(0.5), { shape: [2, 2] }),
        { format },
      ]);
    }, 2e-6);
  });

  it("gives one infinity no number", async () => {
    const numbers = new Float32Array(inner).fill(1);
    numbers[7] = Number.POSITIVE_INFINITY;
    const x = pair.wasm.tensor(numbers, { shape: [1, inner] });
    const y = await product(x, weightOf(pair.wasm, format, 9, inner)).read();
    expect([...y].every(Number.isNaN)).toBe(true);
  });
});
