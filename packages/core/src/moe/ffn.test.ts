import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import type { Backend } from "../contract.ts";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { valueAndGrad } from "../gradient.ts";
import {
  type QuantizedFormat,
  cast,
  dequantize,
  mul,
  quantizedFormats,
  sum,
} from "../ops/index.ts";
import { hostBits, hostNormal, randomKey } from "../random.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { moeFfn, moeFfnBackward } from "./ffn.ts";
import {
  type Activation,
  type FfnDescriptor,
  type FfnWeights,
  activate,
  ffnSizes,
} from "./ffn-descriptor.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const T = 5;
const K = 2;
const E = 3;
const H = 4;
const I = 3;
const O = 2;
/** Expert 1 has no token; `E` stands where a choice found no place. */
const CHOSEN = [0, 2, 2, 0, E, 2, 0, E, 2, 0];

const random = (seed: number, shape: readonly number[]): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
const numbers = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

const cases: readonly [string, FfnDescriptor][] = [
  ["plain", { activation: "relu" }],
  ["plain, transposed", { activation: "geluTanh", transposed: true }],
  ["gated", { activation: "silu", gate: { packing: "concatenated", first: "gate" } }],
  [
    "gated, interleaved, transposed, clamped",
    {
      activation: "silu",
      alpha: 1.702,
      gate: { packing: "interleaved", first: "up" },
      clamp: { limit: 0.7 },
      upOffset: 1,
      transposed: true,
    },
  ],
];

interface Inputs {
  readonly x: Tensor;
  readonly weights: Tensor;
  readonly up: Tensor;
  readonly down: Tensor;
  readonly upBias: Tensor;
  readonly downBias: Tensor;
  readonly inputWeights: Tensor;
}

function inputs(descriptor: FfnDescriptor): Inputs {
  const hidden = descriptor.gate ? 2 * I : I;
  return {
    x: random(1, [T, H]),
    weights: random(2, [T, K]),
    up: random(3, descriptor.transposed ? [E, H, hidden] : [E, hidden, H]),
    down: random(4, descriptor.transposed ? [E, I, O] : [E, O, I]),
    upBias: random(5, [E, hidden]),
    downBias: random(6, [E, O]),
    inputWeights: random(7, [T, K]),
  };
}

const indices = (): Tensor => backend.tensor(Int32Array.from(CHOSEN), { shape: [T, K] });

interface Codes {
  readonly codes: Tensor;
  readonly scales: Tensor;
  /** Of the values. */
  readonly shape: readonly number[];
}

/** Codes and scales of values of this shape, at random. */
function codesOf(seed: number, shape: readonly number[], format: QuantizedFormat): Codes {
  const { codesPerByte, block } = quantizedFormats[format];
  const [rows, width] = [shape.slice(0, -1), shape.at(-1) ?? 0];
  const bytes = [...rows, width / codesPerByte];
  const blocks = block === undefined ? rows : [...rows, width / block];
  const codes = Uint8Array.from(hostBits(randomKey(seed), sizeOf(bytes)));
  const exponents = Uint8Array.from(
    hostBits(randomKey(seed + 1), sizeOf(blocks)),
    (word) => 120 + (word & 7),
  );
  return {
    codes: backend.tensor(codes, { shape: bytes }),
    scales:
      format === "mxfp4" ? backend.tensor(exponents, { shape: blocks }) : random(seed + 1, blocks),
    shape,
  };
}

/** The op on a bank's weights. */
function mix(
  descriptor: FfnDescriptor,
  { up, down, upBias, downBias, upScales, downScales }: FfnWeights,
  x: Tensor,
  chosen: Tensor,
  weights: Tensor,
  inputWeights?: Tensor,
): Tensor {
  const rest = [upBias, downBias, inputWeights, upScales, downScales] as const;
  return moeFfn(x, chosen, weights, up, down, ...rest, { descriptor });
}

function run(descriptor: FfnDescriptor, given: Inputs): Tensor {
  const { x, weights, up, down, upBias, downBias, inputWeights } = given;
  const held = { up, down, upBias, downBias };
  return mix(descriptor, held, x, indices(), weights, inputWeights);
}

describe.each(cases)("moeFfn, %s", (_, descriptor) => {
  it("does for each choice of each token what its expert does", async () => {
    const given = inputs(descriptor);
    const [x, weights, up, down, upBias, downBias, inputWeights] = await Promise.all(
      Object.values(given).map((tensor: Tensor) => numbers(tensor)),
    );
    const hidden = descriptor.gate ? 2 * I : I;
    const weightOf = (
      matrix: number[] | undefined,
      e: number,
      row: number,
      column: number,
      rows: number,
      columns: number,
    ): number =>
      matrix?.[
        e * rows * columns + (descriptor.transposed ? column * rows + row : row * columns + column)
      ] ?? Number.NaN;
    const expected: number[] = [];
    for (let token = 0; token < T; token++) {
      const out = new Array<number>(O).fill(0);
      for (let choice = 0; choice < K; choice++) {
        const at = token * K + choice;
        const e = CHOSEN[at] ?? E;
        if (e === E) continue;
        const inner = Array.from({ length: hidden }, (_unused, row) => {
          let total = upBias?.[e * hidden + row] ?? 0;
          for (let column = 0; column < H; column++) {
            const value = (x?.[token * H + column] ?? 0) * (inputWeights?.[at] ?? 0);
            total += value * weightOf(up, e, row, column, hidden, H);
          }
          return total;
        });
        const middle = await numbers(
          activate(backend.tensor(Float64Array.from(inner), { shape: [1, hidden] }), descriptor),
        );
        for (let row = 0; row < O; row++) {
          let total = downBias?.[e * O + row] ?? 0;
          for (let column = 0; column < I; column++) {
            total += (middle[column] ?? 0) * weightOf(down, e, row, column, O, I);
          }
          out[row] = (out[row] ?? 0) + total * (weights?.[at] ?? 0);
        }
      }
      expected.push(...out);
    }
    const actual = await numbers(run(descriptor, given));
    for (const [index, value] of expected.entries()) expect(actual[index]).toBeCloseTo(value, 12);
  });

  it("has a backward op that agrees with its gradient and with differences", async () => {
    const given = inputs(descriptor);
    const upstream = random(9, [T, O]);
    const loss = (tree: Inputs): Tensor => sum(mul(run(descriptor, tree), upstream));
    const { grads } = valueAndGrad(loss)(given);
    const { x, weights, up, down, upBias, downBias, inputWeights } = given;
    const hidden = random(10, [T * K, descriptor.gate ? 2 * I : I]);
    const [dx, dWeights, dUp, dDown, dUpBias, dDownBias, dInputWeights] = moeFfnBackward(
      upstream,
      hidden,
      x,
      indices(),
      weights,
      up,
      down,
      upBias,
      downBias,
      inputWeights,
      { descriptor },
    );
    const backward = {
      x: dx,
      weights: dWeights,
      up: dUp,
      down: dDown,
      upBias: dUpBias,
      downBias: dDownBias,
      inputWeights: dInputWeights,
    };
    for (const key of Object.keys(given) as (keyof Inputs)[]) {
      const gradient = await numbers(grads[key] as Tensor);
      const other = await numbers(backward[key]);
      for (const [index, value] of gradient.entries()) {
        expect(other[index], key).toBeCloseTo(value, 12);
      }
      const index = gradient.findIndex((value) => Math.abs(value) > 1e-3);
      const values = Float64Array.from(await numbers(given[key]));
      const shifted = (by: number): Promise<number> => {
        const moved = values.with(index, (values[index] ?? 0) + by);
        const tensor = backend.tensor(moved, { shape: given[key].shape });
        return loss({ ...given, [key]: tensor }).item();
      };
      const numeric = ((await shifted(1e-5)) - (await shifted(-1e-5))) / 2e-5;
      expect(numeric / (gradient[index] ?? Number.NaN), key).toBeCloseTo(1, 6);
    }
  });
});

describe("moeFfn", () => {
  const plain: FfnDescriptor = { activation: "relu" };

  it("gives an expert without tokens no gradient, and absent inputs none at all", async () => {
    const { x, weights, up, down } = inputs(plain);
    const { grads } = valueAndGrad((tree: { up: Tensor }) =>
      sum(mix(plain, { up: tree.up, down }, x, indices(), weights)),
    )({ up });
    const gradient = await numbers(grads.up as Tensor);
    expect(gradient.slice(I * H, 2 * I * H).every((value) => value === 0)).toBe(true);
    expect(gradient.some((value) => value !== 0)).toBe(true);
    const backward = moeFfnBackward(
      random(9, [T, O]),
      random(10, [T * K, I]),
      x,
      indices(),
      weights,
      up,
      down,
      undefined,
      undefined,
      undefined,
      { descriptor: plain },
    );
    expect(backward.map(({ shape }) => shape)).toEqual([
      [T, H],
      [T, K],
      [E, I, H],
      [E, O, I],
      [0],
      [0],
      [0],
    ]);
  });

  it("keeps NaN through every clamp", async () => {
    for (const when of ["before", "after"] as const) {
      const gate = { packing: "concatenated", first: "gate" } as const;
      const descriptor: FfnDescriptor = { activation: "silu", gate, clamp: { limit: 1, when } };
      const nan = Number.NaN;
      const rows = [nan, 9, 9, 0.5, 9, nan, -9, 0.5, 9, 9, nan, -9];
      const hidden = backend.tensor(rows, { shape: [3, 4], dtype: "f64" });
      const found = await numbers(activate(hidden, descriptor));
      expect(found.map(Number.isNaN)).toEqual([true, false, false, true, true, false]);
    }
  });

  it("takes weights held in half floats, which do not train", async () => {
    const descriptor: FfnDescriptor = { activation: "silu" };
    const [x, gates] = [random(1, [T, H]), random(2, [T, K])];
    const chosen = backend.tensor(CHOSEN, { shape: [T, K], dtype: "i32" });
    for (const dtype of ["f16", "bf16"] as const) {
      const [up, down] = [random(3, [E, I, H]), random(4, [E, O, I])].map((w) =>
        cast(w, { dtype }),
      );
      const run = (given: Tensor, a: Tensor, b: Tensor): Tensor =>
        sum(mix(descriptor, { up: a, down: b }, given, chosen, gates));
      const wide = [up, down].map((w) => cast(w as Tensor, { dtype: "f64" })) as [Tensor, Tensor];
      const held = valueAndGrad((given: Tensor[]) =>
        run(given[0] as Tensor, given[1] as Tensor, given[2] as Tensor),
      )([x, up as Tensor, down as Tensor]);
      const wanted = valueAndGrad((given: Tensor) => run(given, ...wide))(x);
      expect(await held.loss.item()).toBe(await wanted.loss.item());
      expect(await numbers(held.grads[0] as Tensor)).toEqual(await numbers(wanted.grads as Tensor));
      expect(held.grads.slice(1)).toEqual([null, null]);
    }
    const mixed = { up: random(3, [E, I, H]), down: cast(random(4, [E, O, I]), { dtype: "f16" }) };
    expect(() => mix(descriptor, mixed, x, chosen, gates)).toThrow(DTypeError);
  });

  it.each(["q8_row", "q8_block32", "q4_block32", "mxfp4"] as const)(
    "takes weights in %s, which do not train",
    async (format) => {
      for (const transposed of [false, true]) {
        const descriptor: FfnDescriptor = { activation: "silu", transposed };
        const held = { ...descriptor, format };
        const [up, down] = [codesOf(3, [2, 32, 64], format), codesOf(4, [2, 64, 32], format)];
        const [x, gates] = [random(1, [3, transposed ? 32 : 64]), random(2, [3, 1])];
        const chosen = backend.tensor([1, 0, 1], { shape: [3, 1], dtype: "i32" });
        const numbersOf = ({ codes, scales, shape }: Codes): Tensor =>
          dequantize(codes, scales, { format, shape, dtype: "f64" });
        const wide = { up: numbersOf(up), down: numbersOf(down) };
        const wanted = valueAndGrad((given: Tensor[]) =>
          sum(mix(descriptor, wide, given[0] as Tensor, chosen, given[1] as Tensor)),
        )([x, gates]);
        const found = valueAndGrad((given: Tensor[]) =>
          sum(
            mix(
              held,
              {
                up: up.codes,
                down: down.codes,
                upScales: given[2] as Tensor,
                downScales: given[3] as Tensor,
              },
              given[0] as Tensor,
              chosen,
              given[1] as Tensor,
            ),
          ),
        )([x, gates, up.scales, down.scales]);
        expect(await found.loss.item()).toBe(await wanted.loss.item());
        for (const place of [0, 1]) {
          expect(await numbers(found.grads[place] as Tensor)).toEqual(
            await numbers(wanted.grads[place] as Tensor),
          );
        }
        expect(found.grads.slice(2)).toEqual([null, null]);
      }
    },
  );

  it("refuses codes without scales, scales without a format, and what does not fit it", () => {
    const format = "q4_block32";
    const descriptor: FfnDescriptor = { activation: "silu" };
    const held = { ...descriptor, format } as const;
    const [up, down] = [codesOf(3, [2, 32, 64], format), codesOf(4, [2, 64, 32], format)];
    const weights: FfnWeights = {
      up: up.codes,
      down: down.codes,
      upScales: up.scales,
      downScales: down.scales,
    };
    const [x, gates] = [random(1, [3, 64]), random(2, [3, 1])];
    const chosen = backend.tensor([1, 0, 1], { shape: [3, 1], dtype: "i32" });
    const run = (given: FfnDescriptor, change: Partial<FfnWeights> = {}): Tensor =>
      mix(given, { ...weights, ...change }, x, chosen, gates);
    expect(run(held).shape).toEqual([3, 64]);
    expect(() => run(held, { downScales: undefined })).toThrow(/need each other/);
    expect(() => run(descriptor)).toThrow(ConfigError);
    expect(() => run(held, { upScales: random(1, [2, 32, 1]) })).toThrow(ShapeError);
    expect(() => run(held, { upScales: random(1, [2, 32]) })).toThrow(ShapeError);
    expect(() => run(held, { up: random(1, [2, 32, 32]) })).toThrow(DTypeError);
    expect(() => run({ ...descriptor, format: "q8_block32" })).toThrow(ShapeError);
    expect(() => run({ ...descriptor, format: "mxfp4" })).toThrow(DTypeError);
    expect(() => run({ ...descriptor, format: "q5" as "mxfp4" })).toThrow(ConfigError);
    const none = { upScales: undefined, downScales: undefined };
    expect(() => run(descriptor, none)).toThrow(DTypeError);
  });

  it("takes no tokens, and gives none", () => {
    const { up, down } = inputs(plain);
    const none = backend.tensor(new Float64Array(), { shape: [0, H] });
    const noIndices = backend.tensor(new Int32Array(), { shape: [0, K] });
    const noWeights = backend.tensor(new Float64Array(), { shape: [0, K] });
    const y = mix(plain, { up, down }, none, noIndices, noWeights);
    expect(y.shape).toEqual([0, O]);
  });

  it("refuses what does not fit, by name", () => {
    const good = inputs(plain);
    const refuse = (change: Partial<Inputs>, error: new (...args: never) => Error): void =>
      expect(() => run(plain, { ...good, ...change })).toThrow(error);
    refuse({ x: random(1, [T, H + 1]) }, ShapeError);
    refuse({ weights: random(1, [T, K + 1]) }, ShapeError);
    refuse({ inputWeights: random(1, [T, 1]) }, ShapeError);
    refuse({ upBias: random(1, [E, I + 1]) }, ShapeError);
    refuse({ downBias: random(1, [E + 1, O]) }, ShapeError);
    refuse({ down: random(1, [E, O, I + 1]) }, ShapeError);
    refuse({ up: backend.tensor(new Float32Array(E * I * H), { shape: [E, I, H] }) }, DTypeError);
    refuse({ upBias: backend.tensor(new Float32Array(E * I), { shape: [E, I] }) }, DTypeError);
    expect(() => run({ activation: "tanh" as Activation }, good)).toThrow(ConfigError);
  });
});

describe("ffnSizes", () => {
  it("reads sizes by the descriptor and refuses weights that contradict it", () => {
    const gated: FfnDescriptor = {
      activation: "silu",
      gate: { packing: "concatenated", first: "gate" },
    };
    const sizes = { experts: 8, inputSize: 4, hiddenSize: 6, outputSize: 5 };
    expect(ffnSizes([8, 6, 4], [8, 5, 3], gated)).toEqual(sizes);
    expect(ffnSizes([8, 4, 6], [8, 3, 5], { ...gated, transposed: true })).toEqual(sizes);
    expect(() => ffnSizes([8, 6, 4], [8, 5, 6], gated)).toThrow(/do not fit a gated bank/);
    expect(() => ffnSizes([8, 6, 4], [7, 5, 3], gated)).toThrow(ShapeError);
    expect(() => ffnSizes([6, 4], [5, 3], gated)).toThrow(ShapeError);
  });
});

it("activate limits the gate after its activation where the clamp says so", async () => {
  const hidden = backend.tensor(Float64Array.of(3, -2, 5, -9), { shape: [1, 4] });
  const gate = { packing: "concatenated", first: "gate" } as const;
  const clamp = { limit: 1, when: "after" } as const;
  const silu = (x: number): number => x / (1 + Math.exp(-x));
  const [first, second] = await numbers(activate(hidden, { activation: "silu", gate, clamp }));
  expect(first).toBeCloseTo(1 * 1, 12);
  expect(second).toBeCloseTo(silu(-2) * -1, 12);
  const before = { limit: 1 };
  const [third] = await numbers(activate(hidden, { activation: "silu", gate, clamp: before }));
  expect(third).toBeCloseTo(silu(1) * 1, 12);
});
