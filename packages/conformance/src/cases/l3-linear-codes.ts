import {
  type QuantizedFormat,
  linear,
  quantizedFormats,
  roundsActivations,
  storedFormat,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { agreeing } from "./l3-support.ts";
import {
  type Holding,
  type LinearHosts,
  checkLinear,
  linearCase,
  linearHosts,
  linearOf,
  rowsFor,
} from "./linear-support.ts";
import { heldShapes } from "./quantised-support.ts";
import { BLOCK, STEPS, stepped } from "./rounded-support.ts";

/** A scale of a power of two. */
function powerOf(format: QuantizedFormat, exponent: number): number {
  return format === "mxfp4" ? exponent + 127 : 2 ** exponent;
}

/** A matrix of numbers `[N, K]` by its bytes and scales. */
function coded(
  format: QuantizedFormat,
  [columns, inner]: readonly [columns: number, inner: number],
  byte: (index: number) => number,
  scale: (column: number) => number = (column) => powerOf(format, (column % 5) - 4),
): Pick<LinearHosts, "weight" | "scales"> {
  const shapes = heldShapes(format, [columns, inner]);
  const perColumn = shapes.scales.length === 1 ? 1 : (shapes.scales[1] ?? 1);
  return {
    weight: generated(shapes.codes, "u8", byte),
    scales: generated(shapes.scales, format === "mxfp4" ? "u8" : "f32", (index) =>
      scale(Math.floor(index / Math.max(1, perColumn))),
    ),
  };
}

/** What scales have to be able to be, one for each row of the matrix. */
function extremeScales(format: QuantizedFormat): readonly number[] {
  return format === "mxfp4"
    ? [40, 64, 126, 127, 128, 190, 210]
    : [0, -1.5, 2 ** -90, -(2 ** -60), 1e-20, 3, 1e20, -(2 ** 80), 0.1];
}

/** Each row of x takes one number of each row of the matrix: a code in another place shows. */
async function picked(test: CaseContext, holding: Holding, stored: QuantizedFormat): Promise<void> {
  const inner = 4 * BLOCK;
  const x = generated([inner, inner], "f32", (index) =>
    index % inner === Math.floor(index / inner) ? STEPS / BLOCK : 0,
  );
  const byte = (index: number): number => (index * 37 + 11 * Math.floor(index / 256)) % 256;
  await checkLinear(test, holding, { x, ...coded(stored, [9, inner], byte) });
}

/** Largest codes against largest numbers, of either sign: sums that small integers do not hold. */
async function largest(
  test: CaseContext,
  holding: Holding,
  stored: QuantizedFormat,
): Promise<void> {
  const { codesPerByte } = quantizedFormats[stored];
  // The codes of the largest numbers of either sign: 7 and 15 are ±6 in MXFP4.
  const bytes = stored === "mxfp4" ? [0x77, 0xff, 0x7f] : [0x00, 0xff, 0x0f];
  for (const inner of [2 * BLOCK, 33 * BLOCK]) {
    const signs = [1, -1, 1, 1];
    const x = generated([4, inner], "f32", (index) => {
      const row = Math.floor(index / inner);
      const turns = row === 2 ? (-1) ** index : 1;
      return (signs[row] ?? 1) * turns * STEPS * 2 ** -7;
    });
    const perRow = inner / codesPerByte;
    const byte = (index: number): number => {
      const column = Math.floor(index / perRow);
      return (column < 3 ? bytes[column] : bytes[index % 2]) ?? 0;
    };
    await checkLinear(test, holding, { x, ...coded(stored, [5, inner], byte) });
  }
}

/** A scale that is NaN makes its own column NaN, and nothing beside it. */
async function nanScale(
  test: CaseContext,
  holding: Holding,
  stored: QuantizedFormat,
): Promise<void> {
  const hosts = linearHosts(test, holding, [5, 2 * BLOCK], 9);
  const scales = hosts.scales && { ...hosts.scales, data: hosts.scales.data.slice() };
  scales?.data.fill(stored === "mxfp4" ? 255 : Number.NaN, 4, 5);
  await checkLinear(test, holding, { ...hosts, scales });
}

/** Rows and blocks of rows that are zero, tiny or huge are each read by their own step. */
async function unlikeRows(test: CaseContext, holding: Holding): Promise<void> {
  const sizes = [0, 2 ** -70, 1, 2 ** 60, 1e-6, 3e7];
  const hosts = linearHosts(test, holding, [sizes.length, 3 * BLOCK], 7);
  const width = 3 * BLOCK;
  const scaled = (value: number, index: number): number => {
    const [row, block] = [Math.floor(index / width), Math.floor((index % width) / BLOCK)];
    return block === row % 3 ? 0 : value * (sizes[row] ?? 0);
  };
  const x: HostTensor = generated(hosts.x.shape, "f32", (index) =>
    scaled(hosts.x.data[index] ?? 0, index),
  );
  await checkLinear(test, holding, { ...hosts, x });
}

/** Cases of products whose codes, scales or rows are at their limits. */
export function extremeCases(holding: Holding): readonly ConformanceCase[] {
  const { format, name } = holding;
  if (format === undefined) return [];
  const stored = storedFormat(format);
  return [
    linearCase(holding, "all-codes", `each code of ${name} is read in its own place`, (test) =>
      picked(test, holding, stored),
    ),
    linearCase(
      holding,
      "largest-codes",
      `the largest codes of ${name} times the largest numbers are added without overflow`,
      (test) => largest(test, holding, stored),
    ),
    linearCase(
      holding,
      "extreme-scales",
      `scales of ${name} that are 0, of either sign, tiny and huge give what a product gives`,
      async (test) => {
        const scales = extremeScales(stored);
        const { random } = test;
        const inner = 2 * BLOCK;
        const codes = random.integers(
          heldShapes(stored, [scales.length, inner]).codes,
          0,
          255,
          "u8",
        );
        const byte = (index: number): number => codes.data[index] ?? 0;
        const scale = (column: number): number => scales[column] ?? 0;
        const matrix = coded(stored, [scales.length, inner], byte, scale);
        await checkLinear(test, holding, { x: rowsFor(test, holding, [3, inner]), ...matrix });
      },
    ),
    linearCase(
      holding,
      "nan-scale",
      `a scale of ${name} that is NaN makes its own column NaN, and nothing beside it`,
      (test) => nanScale(test, holding, stored),
    ),
    linearCase(
      holding,
      "unlike-rows",
      `rows of zeros, tiny and huge numbers go through ${name} side by side`,
      (test) => unlikeRows(test, holding),
    ),
    ...(roundsActivations(format) ? [wholeStepsCase(holding)] : []),
  ];
}

/** Rows of whole steps are what they are rounded to, so the format's numbers alone decide. */
const wholeStepsCase = (holding: Holding): ConformanceCase =>
  linearCase(
    holding,
    "whole-steps",
    `rows of whole steps go through ${holding.name} as if they were not rounded`,
    async (test) => {
      const { weight, scales } = linearHosts(test, holding, [8, 3 * BLOCK], 7);
      const x = stepped(test.random, [8, 3 * BLOCK], { eighths: 0 });
      const format = holding.format && storedFormat(holding.format);
      await agreeing(
        test,
        { x, weight, scales },
        (given) => ({
          rounded: linearOf(given, holding),
          plain: linear(given.x, given.weight, given.scales, { format }),
        }),
        [["rounded", "plain"]],
      );
    },
  );
