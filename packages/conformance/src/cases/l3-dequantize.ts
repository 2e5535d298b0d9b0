import { type Tensor, dequantize } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { FFN_OPS, USUAL, ffn, ffnHosts } from "./l3-ffn-support.ts";
import { caseOf, holds, rowsOf, present } from "./l3-support.ts";

const quantisedCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Pick<ConformanceCase, "ops"> = { ops: [dequantize] },
): ConformanceCase =>
  caseOf("L3", `dequantize/${what}`, {
    demand,
    ...more,
    extension: "quantised",
    unsupported: ({ formats, dtypes }) =>
      formats.includes("q8_row") && dtypes.includes("u8")
        ? undefined
        : "the manifest does not have the format q8_row",
    run,
  });

/** All rows of both in `q8_row`. */
async function rows(test: CaseContext, codes: HostTensor, scales: HostTensor): Promise<void> {
  await holds(test, { codes, scales }, (given, { float }) => ({
    values: dequantize(given.codes, given.scales, {
      format: "q8_row",
      shape: codes.shape,
      dtype: float,
    }),
  }));
}

/** Codes and scales of a matrix whose last axis is a row. */
function quantised(tensor: HostTensor): {
  readonly codes: HostTensor;
  readonly scales: HostTensor;
} {
  const width = tensor.shape.at(-1) ?? 1;
  const flat = { ...tensor, shape: [tensor.data.length / width, width] };
  const largest = rowsOf(flat).map((row) => Math.max(...[...row].map(Math.abs)));
  const scales = hostTensor(
    largest.map((size) => size / 127),
    "f32",
    tensor.shape.slice(0, -1),
  );
  const codes = generated(
    tensor.shape,
    "u8",
    (index) =>
      Math.round((tensor.data[index] ?? 0) / (scales.data[Math.floor(index / width)] || 1)) + 128,
  );
  return { codes, scales };
}

/** Cases of quantised weights. */
export const dequantizeCases: readonly ConformanceCase[] = [
  quantisedCase(
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
    quantisedCase(`row-of-${width}`, `rows of ${width} codes keep their own scale`, (test) =>
      rows(test, test.random.integers([9, width], 0, 255, "u8"), test.random.normal([9])),
    ),
  ),
  quantisedCase("ranks", "a vector, a stack of matrices and nothing at all", async (test) => {
    await rows(test, test.random.integers([13], 0, 255, "u8"), hostTensor([0.25], "f32", []));
    await rows(test, test.random.integers([3, 5, 7], 0, 255, "u8"), test.random.normal([3, 5]));
    await rows(test, hostTensor([], "u8", [0, 7]), hostTensor([]));
  }),
  quantisedCase(
    "experts",
    "experts whose weights are dequantised give what the dequantised numbers give",
    async (test) => {
      const shape = { tokens: 9, experts: 4, topK: 2, input: 17, inner: 10 };
      const { up, down, ...rest } = ffnHosts(test, USUAL, shape);
      const [first, second] = [quantised(up), quantised(down)];
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
    },
    { ops: [dequantize, ...FFN_OPS] },
  ),
];
