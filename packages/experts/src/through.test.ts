import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  type Leaf,
  type ProductFormat,
  type Tensor,
  activate,
  add,
  cast,
  dequantize,
  hostNormal,
  isQuantized,
  matmul,
  mixExperts,
  productFormats,
  randomKey,
  roundBlocks,
  roundsActivations,
  sizeOf,
  storedFormat,
  valueShape,
} from "@moiety/core";
import { denseFfn } from "./dense.ts";
import { glu } from "./glu.ts";
import { mlp } from "./mlp.ts";
import { quantizedExperts } from "./quantized.ts";
import { matrixParameter } from "./quantized-matrix.ts";
import { sharedExpert } from "./shared.ts";
import { throughColumns, throughRows } from "./through.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const random = (seed: number, shape: readonly number[]): Tensor =>
  backend.tensor(Float32Array.from(hostNormal(randomKey(seed), sizeOf(shape))), { shape });

const matrix = (seed: number, shape: readonly number[], format?: ProductFormat): Leaf =>
  matrixParameter(randomKey(seed), shape, 1, { backend }, format);

/** The numbers of a leaf. */
function numbersOf(leaf: Leaf, format: ProductFormat): Tensor {
  if (!isQuantized(leaf)) return leaf;
  const stored = storedFormat(format);
  const shape = valueShape(leaf.codes.shape, stored);
  return dequantize(leaf.codes, leaf.scales, { format: stored, shape, dtype: "f32" });
}

/** A product by the definition: numbers of codes, and rows that are rounded where the format says so. */
function product(x: Tensor, weight: Leaf, format: ProductFormat): Tensor {
  const rows = roundsActivations(format) ? roundBlocks(x) : x;
  return matmul(rows, numbersOf(weight, format), { transposeB: true });
}

const values = async (x: Tensor): Promise<number[]> => [...(await x.read())];

describe.each(productFormats)("matrices in %s", (format) => {
  it("are multiplied as their numbers are", async () => {
    const weight = matrix(1, [5, 64], format);
    const x = random(2, [2, 3, 64]);
    const found = throughRows(x, weight, format);
    expect(found.shape).toEqual([2, 3, 5]);
    expect(await values(found)).toEqual(await values(product(x, weight, format)));
  });

  it.each([true, false])("make up a dense network (gated: %s)", async (gated) => {
    const sizes = { hiddenSize: 32, intermediateSize: 64, outputSize: 32, gated, bias: true };
    const network = denseFfn({ ...sizes, activation: "silu", initializerRange: 0.5, format });
    const { params } = network.init(randomKey(3), { backend });
    const upBias = random(4, [gated ? 128 : 64]);
    const downBias = random(5, [32]);
    const biased = { ...params, [gated ? "gateUpBias" : "upBias"]: upBias, downBias };
    const x = random(6, [7, 32]);
    const gate = { packing: "concatenated", first: "gate" } as const;
    const descriptor = { activation: "silu", ...(gated && { gate }) } as const;
    const up = "gateUp" in params ? params.gateUp : params.up;
    const hidden = activate(add(product(x, up, format), upBias), descriptor);
    const wanted = add(product(hidden, params.down, format), downBias);
    expect(await values(network.forward(biased, x))).toEqual(await values(wanted));
    const options = { ...sizes, activation: "silu", initializerRange: 0.5, format } as const;
    const shared = sharedExpert({ ...options, merge: "add" });
    expect(await values(shared.forward({ ffn: biased }, x))).toEqual(await values(wanted));
  });

  it("are one expert of a bank", async () => {
    const sizes = { hiddenSize: 32, intermediateSize: 64, activation: "silu" } as const;
    const bank = quantizedExperts(glu({ ...sizes, experts: 1, initializerRange: 0.5 }), { format });
    const { params } = bank.init(randomKey(3), { backend });
    const dense = denseFfn({ ...sizes, gated: true, initializerRange: 0.5, format });
    const own = dense.init(randomKey(3), { backend }).params;
    const x = random(4, [5, 32]);
    const mixed = mixExperts(bank, params, x, {
      kind: "token-choice",
      experts: 1,
      logits: random(5, [5, 1]),
      scores: random(5, [5, 1]),
      selected: backend.tensor(new Int32Array(5), { shape: [5, 1] }),
      indices: backend.tensor(new Int32Array(5), { shape: [5, 1] }),
      outputWeights: backend.tensor(new Float32Array(5).fill(1), { shape: [5, 1] }),
      sequences: [0, 5],
    });
    const [found, wanted] = [await values(mixed), await values(dense.forward(own, x))];
    const size = Math.max(...wanted.map(Math.abs));
    for (const [index, value] of wanted.entries()) {
      expect(Math.abs((found[index] ?? Number.NaN) - value)).toBeLessThanOrEqual(size * 2 ** -18);
    }
  });
});

describe("matrices in halves", () => {
  it.each(["f16", "bf16"] as const)("are multiplied as their numbers are: %s", async (dtype) => {
    const half = cast(random(1, [5, 8]), { dtype });
    const wide = cast(half, { dtype: "f32" });
    const x = random(2, [3, 8]);
    const wanted = await values(matmul(x, wide, { transposeB: true }));
    expect(await values(throughRows(x, half))).toEqual(wanted);
    const turned = cast(random(1, [8, 5]), { dtype });
    expect(await values(throughColumns(x, turned))).toEqual(
      await values(matmul(x, cast(turned, { dtype: "f32" }))),
    );
  });
});

describe("refusals", () => {
  it("name codes without a format, and formats without codes", () => {
    const x = random(2, [3, 32]);
    expect(() => throughRows(x, matrix(1, [5, 32], "q8_row"))).toThrow(ConfigError);
    expect(() => throughRows(x, matrix(1, [5, 32]), "q8_row")).toThrow(ConfigError);
    expect(() => throughColumns(x, matrix(1, [32, 64], "q8_row"))).toThrow(ConfigError);
  });

  it("name networks that a format cannot hold", () => {
    const sizes = {
      hiddenSize: 32,
      intermediateSize: 40,
      activation: "relu",
      gated: false,
    } as const;
    for (const make of [denseFfn, sharedExpert]) {
      expect(() => make({ ...sizes, format: "q4_block32_a8" })).toThrow(/down is \[32, 40\]/);
      expect(() => make({ ...sizes, format: "q8_row" })).not.toThrow();
      expect(() => make({ ...sizes, format: "q8_32" as "q8_row" })).toThrow(/q8_block32_a8/);
      expect(() => make({ ...sizes, format: "q8_row", transposed: true })).toThrow(/\[out, in\]/);
    }
    const turned = mlp({ ...sizes, intermediateSize: 32, experts: 2, transposed: true });
    expect(() => quantizedExperts(turned, { format: "q8_block32" })).not.toThrow();
    expect(() => quantizedExperts(turned, { format: "q8_block32_a8" })).toThrow(/\[E, out, in\]/);
  });
});
