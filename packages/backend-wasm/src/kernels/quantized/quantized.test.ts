import {
  type Backend,
  type FfnDescriptor,
  type QuantizedFormat,
  type Tensor,
  dequantize,
  moeFfn,
  quantizedFormats,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "../../index.ts";
import { randomBytes, randomCodes } from "../../testing/codes.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const FORMATS = Object.keys(quantizedFormats) as QuantizedFormat[];
const BLOCKED = FORMATS.filter((format) => quantizedFormats[format].block !== undefined);

let pair: Pair;

beforeAll(async () => {
  pair = await createPair({ threads: 2 });
});

afterAll(() => pair.dispose());

describe("dequantize", () => {
  const shapes: Readonly<Record<string, readonly (readonly number[])[]>> = {
    blocked: [[32], [64], [3, 96], [2, 3, 160], [0, 32], [5, 0], [700, 64]],
    rows: [[1], [13], [3, 31], [2, 3, 17], [0, 5], [5, 0], [700, 65], [2, 40_000]],
  };
  it.each(FORMATS)("gives the oracle's bits: %s", async (format) => {
    for (const shape of shapes[BLOCKED.includes(format) ? "blocked" : "rows"] ?? []) {
      await pair.agree((backend) => {
        const [codes, scales] = randomCodes(backend, 3, format, shape);
        return dequantize(codes, scales, { format, shape, dtype: "f32" });
      }, 0);
    }
  });

  it("knows every exponent, NaN, and both zeros", async () => {
    const program = (backend: Backend): Tensor => {
      const codes = backend.tensor(
        Uint8Array.from({ length: 256 * 16 }, (_, at) => (at % 8) * 34 + 16),
        { shape: [256, 16] },
      );
      const scales = backend.tensor(
        Uint8Array.from({ length: 256 }, (_, at) => at),
        { shape: [256, 1] },
      );
      return dequantize(codes, scales, { format: "mxfp4", shape: [256, 32], dtype: "f32" });
    };
    const [got, wanted] = await Promise.all([program(pair.wasm).read(), program(pair.cpu).read()]);
    expect(wanted.subarray(255 * 32).every(Number.isNaN)).toBe(true);
    for (const [at, value] of wanted.entries()) expect(Object.is(got[at], value)).toBe(true);
  });
});

const silu = { activation: "silu" } as const;
const BANKS: readonly (readonly [string, FfnDescriptor])[] = [
  ["plain", silu],
  ["transposed", { ...silu, transposed: true }],
  ["gates first", { ...silu, gate: { packing: "concatenated", first: "gate" } }],
  ["in turns", { ...silu, gate: { packing: "interleaved", first: "up" } }],
  [
    "transposed in turns",
    { ...silu, gate: { packing: "interleaved", first: "gate" }, transposed: true },
  ],
];

interface Sizes {
  readonly tokens: number;
  readonly experts: number;
  readonly hidden: number;
  readonly inner: number;
  readonly output: number;
}

/** A quantised bank, and one of the numbers that its codes stand for, on the same tokens. */
function both(
  backend: Backend,
  format: QuantizedFormat,
  descriptor: FfnDescriptor,
  { tokens, experts, hidden, inner, output }: Sizes,
): readonly [held: Tensor, numbers: Tensor] {
  const columns = descriptor.gate ? 2 * inner : inner;
  const matrix = (rows: number, width: number): number[] =>
    descriptor.transposed ? [experts, width, rows] : [experts, rows, width];
  const [upShape, downShape] = [matrix(columns, hidden), matrix(output, inner)];
  const [up, upScales] = randomCodes(backend, 5, format, upShape);
  const [down, downScales] = randomCodes(backend, 7, format, downShape);
  const x = randomTensor(backend, 9, [tokens, hidden]);
  const chosen = Int32Array.from({ length: tokens * 2 }, (_, at) => (at * 7 + (at >> 2)) % experts);
  const indices = backend.tensor(chosen, { shape: [tokens, 2] });
  const weights = randomTensor(backend, 10, [tokens, 2]);
  const biases = [
    randomTensor(backend, 11, [experts, columns]),
    randomTensor(backend, 12, [experts, output]),
  ] as const;
  const numbers = (codes: Tensor, scales: Tensor, shape: readonly number[]): Tensor =>
    dequantize(codes, scales, { format, shape, dtype: "f32" });
  return [
    moeFfn(x, indices, weights, up, down, ...biases, undefined, upScales, downScales, {
      descriptor: { ...descriptor, format },
    }),
    moeFfn(
      x,
      indices,
      weights,
      numbers(up, upScales, upShape),
      numbers(down, downScales, downShape),
      ...biases,
      undefined,
      undefined,
      undefined,
      { descriptor },
    ),
  ];
}

const BITS = async (tensor: Tensor): Promise<Uint32Array> => {
  const values = (await tensor.read()) as Float32Array;
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
};

describe.each(FORMATS)("moeFfn with weights in %s", (format) => {
  const blocks = { hidden: 96, inner: 64, output: 160 };
  const odd = { hidden: 37, inner: 22, output: 19 };
  const rounds = { hidden: 36, inner: 20, output: 44 };
  const cases = BANKS.flatMap(([name, descriptor]) =>
    (format === "q8_row" ? [blocks, odd, rounds] : [blocks]).flatMap((sizes) =>
      [1, 2, 9, 40].map(
        (tokens) =>
          [
            `${name}, ${tokens} tokens of ${sizes.hidden}`,
            descriptor,
            { ...sizes, tokens, experts: tokens > 9 ? 3 : 8 },
          ] as const,
      ),
    ),
  );
  it.each(cases)("has the bits that it has with floats: %s", async (_, descriptor, sizes) => {
    const [held, numbers] = both(pair.wasm, format, descriptor, sizes);
    expect(pair.wasm.record()["moeFfn"]).toMatchObject({ decomposed: 0 });
    const [got, wanted] = [await BITS(held), await BITS(numbers)];
    expect(got).toEqual(wanted);
    expect(wanted.some((word) => word !== 0)).toBe(true);
  });
});

it("gives the same bits for any number of threads, and close ones without fused products", async () => {
  const sizes = { tokens: 70, experts: 5, hidden: 128, inner: 96, output: 64 };
  const [, gates] = BANKS[2] ?? [];
  const found: Uint32Array[] = [];
  for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 3 }]) {
    const backend = await create(options);
    const [held] = both(backend, "q4_block32", gates ?? silu, sizes);
    found.push(await BITS(held));
    await backend.dispose();
  }
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).toEqual(found[0]);
  const exact = await create({ threads: 1, exact: true });
  const [held, numbers] = both(exact, "mxfp4", gates ?? silu, sizes);
  expect(await BITS(held)).toEqual(await BITS(numbers));
  await exact.dispose();
});

it("reads scales that changed, and packs codes that are others anew", async () => {
  const { wasm } = pair;
  const indices = wasm.tensor(new Int32Array([0]), { shape: [1, 1] });
  const weights = wasm.tensor(new Float32Array([1]), { shape: [1, 1] });
  const x = randomTensor(wasm, 1, [1, 32]);
  const descriptor = { activation: "identity", format: "q8_block32" } as const;
  const run = async (
    up: Tensor,
    upScales: Tensor,
    down: Tensor,
    scales: Tensor,
  ): Promise<number[]> => {
    const rest = [undefined, undefined, undefined, upScales, scales] as const;
    return [...(await moeFfn(x, indices, weights, up, down, ...rest, { descriptor }).read())];
  };
  const scales = wasm.tensor(new Float32Array(32).fill(0.5), { shape: [1, 32, 1] });
  const twice = wasm.tensor(new Float32Array(32).fill(1), { shape: [1, 32, 1] });
  const [first, second] = [randomBytes(wasm, 2, [1, 32, 32]), randomBytes(wasm, 3, [1, 32, 32])];
  const plain = await run(first, scales, second, scales);
  expect(await run(first, twice, second, scales)).toEqual(plain.map((value) => 2 * value));
  expect(await run(second, scales, second, scales)).not.toEqual(plain);
  second.dispose();
  const third = randomBytes(wasm, 4, [1, 32, 32]);
  const again = await run(first, scales, third, scales);
  const fourth = randomBytes(wasm, 4, [1, 32, 32]);
  expect(await run(first, scales, fourth, scales)).toEqual(again);
  expect(again).not.toEqual(plain);
});
