import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  type QuantizedFormat,
  type QuantizedTensor,
  type Tensor,
  ConfigError,
  NumericError,
  ShapeError,
  apply,
  cast,
  dequantize,
  hostNormal,
  isQuantized,
  leavesOf,
  moe,
  quantizedFormats,
  randomKey,
  sizeOf,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { expertChoiceRouter, mixtralRouter } from "@moiety/routers";
import { glu } from "./glu.ts";
import { mlp } from "./mlp.ts";
import { hostQuantize } from "./quantize.ts";
import { quantizedExperts } from "./quantized.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const FORMATS = Object.keys(quantizedFormats) as QuantizedFormat[];

/** The numbers behind codes. */
async function numbersOf(
  { codes, scales }: QuantizedTensor,
  shape: readonly number[],
  format: QuantizedFormat,
): Promise<number[]> {
  return [...(await dequantize(codes, scales, { format, shape, dtype: "f64" }).read())];
}

function uploaded(
  values: readonly number[],
  shape: readonly number[],
  format: QuantizedFormat,
): QuantizedTensor {
  const { codes, codesShape, scales, scalesShape } = hostQuantize(values, shape, format);
  return {
    codes: backend.tensor(codes, { shape: codesShape }),
    scales: backend.tensor(scales, { shape: scalesShape }),
  };
}

describe("hostQuantize", () => {
  it.each(["q8_row", "q8_block32", "q4_block32"] as const)(
    "is never further off than half a step, and meets the largest number: %s",
    async (format) => {
      const shape = [5, 96];
      const values = [...hostNormal(randomKey(1), sizeOf(shape))];
      const { block = 96, zeroPoint = 0 } = quantizedFormats[format];
      const found = await numbersOf(uploaded(values, shape, format), shape, format);
      for (let part = 0; part < values.length; part += block) {
        const sizes = values.slice(part, part + block).map(Math.abs);
        const largest = Math.max(...sizes);
        const step = largest / (zeroPoint - 1);
        for (let at = part; at < part + block; at++) {
          expect(Math.abs(found[at]! - values[at]!)).toBeLessThanOrEqual(step * 0.5 * (1 + 1e-6));
        }
        const where = part + sizes.indexOf(largest);
        expect(found[where]! / values[where]!).toBeCloseTo(1, 6);
      }
    },
  );

  it("keeps whole steps as they are, whatever their format", async () => {
    const steps = Array.from({ length: 64 }, (_, index) => (index % 15) - 7);
    for (const format of ["q4_block32", "mxfp4"] as const) {
      const whole =
        format === "mxfp4"
          ? steps.map((step) => Math.sign(step) * [0, 0.5, 1, 1.5, 2, 3, 4, 6][Math.abs(step)]!)
          : steps;
      const found = await numbersOf(uploaded(whole, [2, 32], format), [2, 32], format);
      for (const [at, value] of whole.entries()) expect(found[at]).toBeCloseTo(value, 6);
    }
  });

  it("packs the first of two codes into the low bits, with ties to even codes", () => {
    const values = new Float64Array(32);
    values.set([7, -7, 1, 0.5, 1.5, -0.5, -2.5]);
    const { codes, scales } = hostQuantize(values, [32], "q4_block32");
    expect([...scales]).toEqual([1]);
    expect([...codes.subarray(0, 4)]).toEqual([0x1f, 0x89, 0x8a, 0x86]);
    values.set([6, -6, 0.25, 0.75, 5, -2.5, 0.2]);
    const mini = hostQuantize(values, [32], "mxfp4");
    expect([...mini.scales]).toEqual([127]);
    expect([...mini.codes.subarray(0, 4)]).toEqual([0xf7, 0x20, 0xc6, 0x00]);
  });

  it("gives blocks of zeros zeros, and follows blocks of any size", async () => {
    for (const format of FORMATS) {
      const values = Array.from(
        { length: 96 },
        (_, at) => (at < 32 ? 0 : at < 64 ? 1e-20 : 3e20) * ((at % 7) - 3),
      );
      const shape = [3, 32];
      const found = await numbersOf(uploaded(values, shape, format), shape, format);
      for (const [at, value] of values.entries()) {
        const largest = 3 * (at < 32 ? 0 : at < 64 ? 1e-20 : 3e20);
        expect(Math.abs(found[at]! - value)).toBeLessThanOrEqual(largest / 6);
      }
    }
  });

  it("refuses rows of parts of blocks, other sizes, and what is not finite", () => {
    expect(() => hostQuantize(new Float32Array(48), [48], "q4_block32")).toThrow(ShapeError);
    expect(() => hostQuantize(new Float32Array(48), [32], "q4_block32")).toThrow(ShapeError);
    expect(() => hostQuantize(new Float32Array(1), [], "q8_row")).toThrow(ShapeError);
    for (const bad of [Number.NaN, Infinity]) {
      expect(() => hostQuantize([1, bad, 2], [3], "q8_row")).toThrow(NumericError);
    }
    expect(hostQuantize([], [0, 32], "q4_block32").codesShape).toEqual([0, 16]);
  });
});

const sizes = { experts: 4, hiddenSize: 32, intermediateSize: 64, initializerRange: 0.2 } as const;

describe.each(FORMATS)("quantizedExperts in %s", (format) => {
  const plain = glu({ ...sizes, activation: "silu", bias: true });
  const bank = quantizedExperts(plain, { format });
  const router = mixtralRouter({ hiddenSize: 32, numLocalExperts: 4, numExpertsPerTok: 2 });

  it("runs as the numbers of its codes do, routed either way", async () => {
    const params = plain.init(randomKey(3), { backend }).params;
    const held = await bank.quantize(params);
    const matrix = (name: "gateUp" | "down"): Tensor =>
      dequantize(held[name].codes, held[name].scales, {
        format,
        shape: params[name].shape,
        dtype: "f32",
      });
    const numbers = { ...params, gateUp: matrix("gateUp"), down: matrix("down") };
    const x = backend.tensor(hostNormal(randomKey(4), 7 * 32), { shape: [7, 32], dtype: "f32" });
    for (const one of [router, expertChoiceRouter({ hiddenSize: 32, numExperts: 4 })]) {
      const layer = moe({ router: one as typeof router, experts: bank });
      const reference = moe({ router: one as typeof router, experts: plain });
      const routing = layer.init(randomKey(5), { backend });
      const [got, wanted] = [
        apply(layer, { ...routing.params, experts: held }, routing.state, x),
        apply(reference, { ...routing.params, experts: numbers }, routing.state, x),
      ];
      expect([...(await got.output.read())]).toEqual([...(await wanted.output.read())]);
    }
  });

  it("draws what the bank inside draws, quantised", async () => {
    const own = bank.init(randomKey(9), { backend }).params;
    const inner = await bank.quantize(plain.init(randomKey(9), { backend }).params);
    expect(leavesOf(own).map(({ path }) => path)).toEqual(leavesOf(inner).map(({ path }) => path));
    for (const name of ["gateUp", "down"] as const) {
      expect(isQuantized(own[name])).toBe(true);
      for (const part of ["codes", "scales"] as const) {
        expect([...(await own[name][part].read())]).toEqual([...(await inner[name][part].read())]);
      }
    }
    expect(bank.shapes).toEqual(plain.shapes);
  });

  it("trains routers, but not itself", () => {
    const layer = moe({ router, experts: bank });
    const { params, state } = layer.init(randomKey(6), { backend });
    const x = backend.tensor(hostNormal(randomKey(4), 7 * 32), { shape: [7, 32], dtype: "f32" });
    const { grads } = valueAndGrad((given: typeof params) =>
      sum(apply(layer, given, state, x).output),
    )(params);
    expect(grads.experts.gateUp).toBe(null);
    expect(grads.experts.down).toBe(null);
    expect(grads.router.weight).not.toBe(null);
  });
});

it("quantises weights held in halves", async () => {
  const plain = mlp({ ...sizes, activation: "relu", transposed: true });
  const bank = quantizedExperts(plain, { format: "q8_block32" });
  const params = plain.init(randomKey(3), { backend }).params;
  const halves = {
    up: cast(params.up, { dtype: "bf16" }),
    down: cast(params.down, { dtype: "bf16" }),
  };
  const wide = {
    up: cast(halves.up, { dtype: "f32" }),
    down: cast(halves.down, { dtype: "f32" }),
  };
  const [got, wanted] = [await bank.quantize(halves), await bank.quantize(wide)];
  expect([...(await got.up.codes.read())]).toEqual([...(await wanted.up.codes.read())]);
  expect(bank.descriptor).toEqual({ activation: "relu", transposed: true, format: "q8_block32" });
});

it("refuses rows of parts of blocks, and formats that there are not", () => {
  const narrow = glu({ ...sizes, hiddenSize: 24, activation: "silu" });
  expect(() => quantizedExperts(narrow, { format: "q4_block32" })).toThrow(
    /gateUp is \[4, 128, 24\]/,
  );
  expect(() => quantizedExperts(narrow, { format: "q8_row" })).not.toThrow();
  expect(() => quantizedExperts(narrow, { format: "q3" as "q8_row" })).toThrow(ConfigError);
});
