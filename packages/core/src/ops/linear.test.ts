import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { valueAndGrad } from "../gradient.ts";
import { hostBits, hostNormal, randomKey } from "../random.ts";
import { type Shape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import {
  type ProductFormat,
  cast,
  dequantize,
  linear,
  mul,
  productFormats,
  quantizedFormats,
  roundBlocks,
  roundsActivations,
  storedFormat,
  sum,
  zeros,
} from "./index.ts";

const backend = await create();
const normal = (seed: number, shape: Shape): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
const numbers = async (x: Tensor): Promise<number[]> => [...(await x.read())];

/** A weight as it is held, and its numbers. */
interface Held {
  readonly name: string;
  readonly weight: Tensor;
  readonly scales?: Tensor;
  readonly format?: ProductFormat;
  readonly numbers: Tensor;
}

/** A weight `[N, K]` in a format, at random. */
function codes(format: ProductFormat, [rows, inner]: readonly [number, number]): Held {
  const stored = storedFormat(format);
  const { codesPerByte, block } = quantizedFormats[stored];
  const bytes = [rows, inner / codesPerByte];
  const parts = block === undefined ? [rows] : [rows, inner / block];
  const weight = backend.tensor(Uint8Array.from(hostBits(randomKey(5), sizeOf(bytes))), {
    shape: bytes,
  });
  const exponents = (): Uint8Array =>
    Uint8Array.from(hostBits(randomKey(6), sizeOf(parts)), (word) => 120 + (word & 7));
  const scales =
    stored === "mxfp4" ? backend.tensor(exponents(), { shape: parts }) : normal(6, parts);
  const shape = [rows, inner];
  const values = dequantize(weight, scales, { format: stored, shape, dtype: "f64" });
  return { name: format, weight, scales, format, numbers: values };
}

/** Every way to hold a weight `[N, K]`. */
function holdings(shape: readonly [number, number]): readonly Held[] {
  const wide = normal(4, shape);
  return [
    { name: "f64", weight: wide, numbers: wide },
    ...(["f16", "bf16"] as const).map((dtype) => {
      const weight = cast(wide, { dtype });
      return { name: dtype, weight, numbers: cast(weight, { dtype: "f64" }) };
    }),
    ...productFormats.map((format) => codes(format, shape)),
  ];
}

const run = (x: Tensor, { weight, scales, format }: Held): Tensor =>
  linear(x, weight, scales, { format });

/** The rows that a product reads. */
const read = (x: Tensor, { format }: Held): Tensor =>
  format && roundsActivations(format) ? roundBlocks(x) : x;

/** `x [R, K]` times the transpose of `[N, K]`, one number after another. */
function product(x: readonly number[], weight: readonly number[], inner: number): number[] {
  const found: number[] = [];
  for (let row = 0; row < x.length / inner; row++) {
    for (let column = 0; column < weight.length / inner; column++) {
      let total = 0;
      for (let k = 0; k < inner; k++) {
        total += (x[row * inner + k] ?? 0) * (weight[column * inner + k] ?? 0);
      }
      found.push(total);
    }
  }
  return found;
}

const INNER = 64;
const COLUMNS = 7;

describe.each(holdings([COLUMNS, INNER]))("linear with a weight in $name", (held) => {
  it.each([
    [[INNER]],
    [[1, INNER]],
    [[5, INNER]],
    [[2, 3, INNER]],
    [[2, 1, 2, INNER]],
    [[0, INNER]],
  ])("multiplies rows of shape %j", async (shape) => {
    const x = normal(1, shape);
    const y = run(x, held);
    expect(y.shape).toEqual([...shape.slice(0, -1), COLUMNS]);
    expect(y.dtype).toBe("f64");
    const weight = await numbers(held.numbers);
    const wanted = product(await numbers(read(x, held)), weight, INNER);
    const got = await numbers(y);
    expect(got).toHaveLength(wanted.length);
    for (const [place, value] of wanted.entries()) expect(got[place]).toBeCloseTo(value, 10);
  });

  it("has the gradient of its rows: what goes through the weight's numbers", async () => {
    const [x, upstream] = [normal(1, [3, INNER]), normal(2, [3, COLUMNS])];
    const loss = (given: Tensor): Tensor => sum(mul(run(given, held), upstream));
    const { grads } = valueAndGrad(loss)(x);
    const weight = await numbers(held.numbers);
    const turned = Array.from(
      { length: weight.length },
      (_, place) => weight[(place % COLUMNS) * INNER + Math.floor(place / COLUMNS)] ?? 0,
    );
    const wanted = product(await numbers(upstream), turned, COLUMNS);
    const found = await numbers(grads as Tensor);
    for (const [place, value] of wanted.entries()) expect(found[place]).toBeCloseTo(value, 10);
  });

  it("agrees with differences, unless it rounds", async () => {
    const x = normal(1, [2, INNER]);
    const upstream = normal(2, [2, COLUMNS]);
    const { grads } = valueAndGrad((given: Tensor) => sum(mul(run(given, held), upstream)))(x);
    const values = Float64Array.from(await numbers(x));
    const gradient = await numbers(grads as Tensor);
    for (const place of [0, 33, INNER + 5]) {
      const lossAt = (by: number): Promise<number> => {
        const moved = values.with(place, (values[place] ?? 0) + by);
        // Differences of a staircase say nothing: those of its slope are the gradient's.
        const given = backend.tensor(moved, { shape: x.shape });
        const plain = held.format && { ...held, format: storedFormat(held.format) };
        return sum(mul(run(given, plain ?? held), upstream)).item();
      };
      const numeric = ((await lossAt(1e-5)) - (await lossAt(-1e-5))) / 2e-5;
      expect(gradient[place]).toBeCloseTo(numeric, 5);
    }
  });

  it("trains the weight only where it is in the dtype of its rows", () => {
    const { weight, scales, format } = held;
    const { grads } = valueAndGrad((tree: { weight: Tensor; scales?: Tensor }) =>
      sum(linear(normal(1, [2, INNER]), tree.weight, tree.scales, { format })),
    )(scales ? { weight, scales } : { weight });
    if (held.name === "f64") expect(grads.weight?.shape).toEqual([COLUMNS, INNER]);
    else expect(grads.weight).toBeNull();
    expect(grads.scales ?? null).toBeNull();
  });
});

describe("linear", () => {
  it("reads rows in whole steps where the format says so", async () => {
    const values = [127, 63.4, -0.6, 2.5, ...new Array<number>(28).fill(0)];
    const x = backend.tensor(values, { shape: [32], dtype: "f32" });
    const units = Array.from({ length: 32 }, (_, k) => (k < 4 ? 129 : 128));
    const weight = backend.tensor(Uint8Array.from(units), { shape: [1, 32] });
    const scales = backend.tensor([0.5], { shape: [1, 1], dtype: "f32" });
    const of = (format: ProductFormat): Promise<number> =>
      linear(x, weight, scales, { format }).item();
    expect(await of("q8_block32_a8")).toBe((127 + 63 - 1 + 2) / 2);
    expect(await of("q8_block32")).toBeCloseTo((127 + 63.4 - 0.6 + 2.5) / 2, 4);
  });

  it("takes weights in f32 through rows in f32, and rows of any width", async () => {
    for (const inner of [0, 1, 3, 33]) {
      const [x, weight] = [normal(1, [2, inner]), normal(2, [5, inner])];
      const [narrow, held] = [x, weight].map((one) => cast(one, { dtype: "f32" })) as [
        Tensor,
        Tensor,
      ];
      const y = linear(narrow, held, undefined, {});
      expect(y.dtype).toBe("f32");
      const wanted = product(await numbers(narrow), await numbers(held), inner);
      const found = inner === 0 ? new Array<number>(10).fill(0) : wanted;
      for (const [place, value] of (await numbers(y)).entries()) {
        expect(value).toBeCloseTo(found[place] ?? Number.NaN, 5);
      }
    }
  });

  it("gives nothing for a matrix without rows", () => {
    for (const held of holdings([0, INNER])) {
      expect(run(normal(1, [3, INNER]), held).shape).toEqual([3, 0]);
    }
  });

  it("names the formats, how each is stored and which of them round", () => {
    expect(productFormats.filter(roundsActivations)).toEqual(["q8_block32_a8", "q4_block32_a8"]);
    expect(productFormats.map(storedFormat)).toEqual([
      "q8_row",
      "q8_block32",
      "q4_block32",
      "mxfp4",
      "q8_block32",
      "q4_block32",
    ]);
  });

  it("shows in the record whether the backend's own kernel ran", () => {
    backend.resetRecord();
    backend.scope(() => void run(normal(1, [2, INNER]), codes("q4_block32_a8", [3, INNER])));
    expect(backend.record()["linear"]).toEqual({ kernel: 0, decomposed: 1 });
    expect(backend.record()["roundBlocks"]).toEqual({ kernel: 0, decomposed: 1 });
  });
});

describe("linear with a weight that is made wide in pieces", () => {
  /** So wide that four rows are a piece. */
  const WIDE = 1 << 20;
  const ROWS = 6;
  /** Small whole numbers, which every holding keeps; k and n tell rows and columns apart. */
  const weightAt = (n: number, k: number): number => ((n + k) % 5) - 2;
  const xAt = (k: number): number => (k % 7) - 3;
  const wanted = Array.from({ length: ROWS }, (_, n) => {
    let total = 0;
    for (let k = 0; k < WIDE; k++) total += weightAt(n, k) * xAt(k);
    return total;
  });
  const at = (index: number): readonly [number, number] => [Math.floor(index / WIDE), index % WIDE];

  const halves = (): Held => {
    const values = Float32Array.from({ length: ROWS * WIDE }, (_, i) => weightAt(...at(i)));
    const wide = backend.tensor(values, { shape: [ROWS, WIDE] });
    const weight = cast(wide, { dtype: "f16" });
    wide.dispose();
    return { name: "f16", weight, numbers: weight };
  };
  const nibbles = (): Held => {
    const code = (index: number): number => weightAt(...at(index)) + 8;
    const bytes = Uint8Array.from(
      { length: (ROWS * WIDE) / 2 },
      (_, i) => code(2 * i) + 16 * code(2 * i + 1),
    );
    const weight = backend.tensor(bytes, { shape: [ROWS, WIDE / 2] });
    const ones = new Float32Array((ROWS * WIDE) / 32).fill(1);
    const scales = backend.tensor(ones, { shape: [ROWS, WIDE / 32] });
    return { name: "q4_block32", weight, scales, format: "q4_block32", numbers: weight };
  };

  it.each([
    ["halves", halves],
    ["codes", nibbles],
  ])("gives every row its own product: %s", async (_, hold) => {
    const before = backend.statistics().liveBytes;
    const held = hold();
    const x = backend.tensor(Float32Array.from({ length: WIDE }, (__, k) => xAt(k)));
    backend.resetRecord();
    const y = run(x, held);
    expect(backend.record()["matmul"]).toEqual({ kernel: 2, decomposed: 0 });
    expect(await numbers(y)).toEqual(wanted);
    const { loss, grads } = valueAndGrad((given: Tensor) => sum(run(given, held)))(x);
    expect(await loss.item()).toBe(wanted.reduce((total, value) => total + value, 0));
    const gradient = await (grads as Tensor).read();
    for (const k of [0, 1, 2, 3, 4, WIDE - 1]) {
      const column = Array.from({ length: ROWS }, (__, n) => weightAt(n, k));
      expect(gradient[k]).toBe(column.reduce((total, value) => total + value, 0));
    }
    for (const tensor of [loss, grads, y, x, held.weight, held.scales]) tensor?.dispose();
    expect(backend.statistics().liveBytes).toBe(before);
  });

  it("never holds all of it wide", async () => {
    const small = await create();
    const rows = 2 * ROWS;
    const weight = zeros(small, [rows, WIDE], "f16");
    const x = zeros(small, [WIDE]);
    const held = small.statistics().peakBytes;
    await linear(x, weight, undefined, {}).read();
    expect(small.statistics().peakBytes - held).toBeLessThan(rows * WIDE * 4);
    await small.dispose();
  });
});

describe("linear refuses", () => {
  const x = normal(1, [2, INNER]);
  const { weight, scales } = codes("q4_block32", [3, INNER]) as Required<Held>;
  const format = "q4_block32_a8";
  const refusals: readonly (readonly [
    string,
    abstract new (...args: never[]) => Error,
    () => unknown,
  ])[] = [
    ["codes without scales", ConfigError, () => linear(x, weight, undefined, { format })],
    ["scales without a format", ConfigError, () => linear(x, weight, scales, {})],
    ["codes without both", DTypeError, () => linear(x, weight, undefined, {})],
    [
      "an unknown format",
      ConfigError,
      () => linear(x, weight, scales, { format: "q5" as "mxfp4" }),
    ],
    ["scales of another shape", ShapeError, () => linear(x, weight, normal(1, [3, 1]), { format })],
    ["scales of another format", DTypeError, () => linear(x, weight, scales, { format: "mxfp4" })],
    [
      "codes of another width",
      ShapeError,
      () => linear(x, weight, scales, { format: "q8_block32_a8" }),
    ],
    ["codes that are numbers", DTypeError, () => linear(x, normal(1, [3, 32]), scales, { format })],
    [
      "rows of another width",
      ShapeError,
      () => linear(normal(1, [2, 32]), weight, scales, { format }),
    ],
    ["a bank of matrices", ShapeError, () => linear(x, normal(1, [2, 3, INNER]), undefined, {})],
    ["a vector for a matrix", ShapeError, () => linear(x, normal(1, [INNER]), undefined, {})],
    ["another float", DTypeError, () => linear(x, zeros(backend, [3, INNER]), undefined, {})],
    [
      "rows of integers",
      DTypeError,
      () => linear(zeros(backend, [2, 2], "i32"), zeros(backend, [3, 2], "i32"), undefined, {}),
    ],
    [
      "a number for rows",
      ShapeError,
      () => linear(zeros(backend, []), zeros(backend, [1, 1]), undefined, {}),
    ],
  ];
  it.each(refusals)("%s", (_, error, call) => {
    expect(call).toThrow(error);
    expect(call).toThrow(/linear/);
  });
});
