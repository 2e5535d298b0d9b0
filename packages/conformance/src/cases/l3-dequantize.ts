import {
  type QuantizedFormat,
  type Tensor,
  dequantize,
  quantizedFormats,
  valueShape,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { FFN_OPS, USUAL, ffn, ffnHosts } from "./l3-ffn-support.ts";
import { at, caseOf, holds, observed, present } from "./l3-support.ts";
import { type Quantised, FORMATS, heldShapes, lacks, quantised } from "./quantised-support.ts";

const quantisedCase = (
  format: QuantizedFormat,
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Pick<ConformanceCase, "ops"> = { ops: [dequantize] },
): ConformanceCase =>
  caseOf("L3", `dequantize/${what}`, {
    demand,
    ...more,
    extension: "quantised",
    unsupported: (capabilities) => lacks(format, capabilities),
    run,
  });

/** Holds the values of codes to the references. */
async function values(
  test: CaseContext,
  format: QuantizedFormat,
  codes: HostTensor,
  scales: HostTensor,
): Promise<void> {
  const shape = valueShape(codes.shape, format);
  await holds(test, { codes, scales }, (given, { float: dtype }) => ({
    values: dequantize(given.codes, given.scales, { format, shape, dtype }),
  }));
}

const rows = (test: CaseContext, codes: HostTensor, scales: HostTensor): Promise<void> =>
  values(test, "q8_row", codes, scales);

/** Formats with a scale for each block. */
const BLOCKED = FORMATS.filter((format) => quantizedFormats[format].block !== undefined);

/** Random codes and scales of values of this shape. */
function drawn(
  { random }: CaseContext,
  format: QuantizedFormat,
  shape: readonly number[],
): Quantised {
  const shapes = heldShapes(format, shape);
  return {
    codes: random.integers(shapes.codes, 0, 255, "u8"),
    scales:
      format === "mxfp4"
        ? random.integers(shapes.scales, 110, 140, "u8")
        : random.normal(shapes.scales),
  };
}

/** A power of two as the scale of a format. */
function powerOf(format: QuantizedFormat, exponent: number): number {
  return format === "mxfp4" ? exponent + 127 : 2 ** exponent;
}

/** What scales have to be able to be. */
function extremesOf(format: QuantizedFormat): number[] {
  return format === "mxfp4"
    ? [0, 1, 2, 23, 24, 64, 126, 127, 128, 190, 251, 252]
    : [0, -0, -1.5, 2 ** -100, -(2 ** -119), 1e-30, 1e-6, 3, 1e30, 2 ** 120, -(2 ** 119), 0.1];
}

async function nanScale(test: CaseContext, format: QuantizedFormat): Promise<void> {
  const { codes, scales } = drawn(test, format, [5, 96]);
  const nan = format === "mxfp4" ? 255 : Number.NaN;
  const poisoned = scales.data.slice();
  poisoned[7] = nan;
  const shape = [5, 96];
  const of = (given: HostTensor): Promise<Record<string, HostTensor>> =>
    observed(test, { codes, scales: given }, (inputs, { float: dtype }) => ({
      values: dequantize(inputs.codes, inputs.scales, { format, shape, dtype }),
    }));
  const clean = at(await of(scales), "values");
  const got = at(await of({ ...scales, data: poisoned }), "values");
  for (const [place, value] of got.data.entries()) {
    const poison = Math.floor(place / 32) === 7;
    test.expect(
      poison ? Number.isNaN(value) : value === clean.data[place],
      `place ${place} is ${value}, but the scale of block 7 alone is NaN`,
    );
  }
}

const blocked: readonly ConformanceCase[] = BLOCKED.flatMap((format) => [
  quantisedCase(
    format,
    `${format}-all-codes`,
    `each byte of ${format} stands for its own values, and the first of two is in the low bits`,
    (test) => {
      const { scales } = heldShapes(format, valueShape([3, 256], format));
      const powers = generated(scales, format === "mxfp4" ? "u8" : "f32", (index) =>
        powerOf(format, ((index * 5) % 17) - 8),
      );
      return values(
        test,
        format,
        generated([3, 256], "u8", (index) => (index * 37 + 11 * Math.floor(index / 256)) % 256),
        powers,
      );
    },
  ),
  ...[1, 2, 3, 5, 9].map((blocks) =>
    quantisedCase(
      format,
      `${format}-blocks-${blocks}`,
      `rows of ${blocks} blocks keep a scale for each`,
      async (test) => {
        for (const count of [1, 7]) {
          const { codes, scales } = drawn(test, format, [count, 32 * blocks]);
          await values(test, format, codes, scales);
        }
      },
    ),
  ),
  quantisedCase(
    format,
    `${format}-ranks`,
    "a vector, a stack of matrices, no rows and no columns",
    async (test) => {
      for (const shape of [[64], [3, 5, 96], [0, 32], [4, 0]]) {
        const { codes, scales } = drawn(test, format, shape);
        await values(test, format, codes, scales);
      }
    },
  ),
  quantisedCase(
    format,
    `${format}-extreme-scales`,
    "scales of 0, of either sign, tiny and huge give what a product gives",
    (test) => {
      const scales = extremesOf(format);
      const { codes } = drawn(test, format, [scales.length, 32]);
      const held = hostTensor(scales, format === "mxfp4" ? "u8" : "f32", [scales.length, 1]);
      return values(test, format, codes, held);
    },
  ),
  quantisedCase(
    format,
    `${format}-nan-scale`,
    "a scale that is NaN makes its own block NaN, and nothing beside it",
    (test) => nanScale(test, format),
  ),
]);

async function dequantisedExperts(test: CaseContext): Promise<void> {
  const shape = { tokens: 9, experts: 4, topK: 2, input: 17, inner: 10 };
  const { up, down, ...rest } = ffnHosts(test, USUAL, shape);
  const [first, second] = [quantised("q8_row", up), quantised("q8_row", down)];
  const inputs = {
    ...present(rest),
    x: rest.x,
    indices: rest.indices,
    outputWeights: rest.outputWeights,
    upCodes: first.codes,
    upScales: first.scales,
    downCodes: second.codes,
    downScales: second.scales,
  };
  await holds(test, inputs, (given, { float }) => {
    const weights = (codes: Tensor, scales: Tensor): Tensor =>
      dequantize(codes, scales, { format: "q8_row", shape: codes.shape, dtype: float });
    const bank = {
      up: weights(given.upCodes, given.upScales),
      down: weights(given.downCodes, given.downScales),
      upBias: undefined,
      downBias: undefined,
      inputWeights: undefined,
    };
    const { x, indices, outputWeights } = given;
    return { y: ffn({ x, indices, outputWeights, ...bank }, USUAL.descriptor) };
  });
}

/** Cases of quantised weights. */
export const dequantizeCases: readonly ConformanceCase[] = [
  quantisedCase(
    "q8_row",
    "all-codes",
    "each of the 256 codes is its distance from 128 times the scale",
    (test) =>
      rows(
        test,
        generated([7, 256], "u8", (index) => index % 256),
        hostTensor([1, 0.5, 0, 3, -2, 1e-6, 12345.678]),
      ),
  ),
  ...[1, 2, 3, 5, 31, 33, 129].map((width) =>
    quantisedCase(
      "q8_row",
      `row-of-${width}`,
      `rows of ${width} codes keep their own scale`,
      (test) => rows(test, test.random.integers([9, width], 0, 255, "u8"), test.random.normal([9])),
    ),
  ),
  quantisedCase(
    "q8_row",
    "ranks",
    "a vector, a stack of matrices and nothing at all",
    async (test) => {
      await rows(test, test.random.integers([13], 0, 255, "u8"), hostTensor([0.25], "f32", []));
      await rows(test, test.random.integers([3, 5, 7], 0, 255, "u8"), test.random.normal([3, 5]));
      await rows(test, hostTensor([], "u8", [0, 7]), hostTensor([]));
    },
  ),
  quantisedCase(
    "q8_row",
    "experts",
    "experts whose weights are dequantised give what the dequantised numbers give",
    dequantisedExperts,
    { ops: [dequantize, ...FFN_OPS] },
  ),
  ...blocked,
];
