import {
  type QuantizedFormat,
  dequantize,
  moeFfn,
  quantizedFormats,
  valueShape,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { FFN_GRADIENT_OPS } from "./grad-fused.ts";
import { GRADIENT_OPS, gradientsHold } from "./grad-support.ts";
import {
  BANKS,
  type Bank,
  FFN_OPS,
  type FfnHosts,
  type FfnShape,
  GPT_OSS,
  USUAL,
  ffn,
  ffnHosts,
} from "./l3-ffn-support.ts";
import { at, caseOf, holds, mapped, observed, pickRows, staysInRow } from "./l3-support.ts";
import { FORMATS, lacks, lacksInvariant, quantised, ranAsClaimed } from "./quantised-support.ts";

const expertCase = (
  format: QuantizedFormat,
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<ConformanceCase> = {},
): ConformanceCase =>
  caseOf("L3", `quantised/${format}-${what}`, {
    demand,
    extension: "quantised",
    ops: [dequantize, ...FFN_OPS],
    unsupported: (capabilities) => lacks(format, capabilities),
    run,
    ...more,
  });

/** Widths of whole blocks, whichever way the matrices lie. */
const SHAPE: FfnShape = { tokens: 6, experts: 4, topK: 2, input: 64, inner: 32, output: 32 };

/** Inputs of an expert path whose matrices are held in a format. */
function heldHosts(
  test: CaseContext,
  format: QuantizedFormat,
  bank: Bank,
  shape: FfnShape = SHAPE,
): FfnHosts {
  const hosts = ffnHosts(test, bank, shape);
  const [up, down] = [quantised(format, hosts.up), quantised(format, hosts.down)];
  return {
    ...hosts,
    up: up.codes,
    down: down.codes,
    upScales: up.scales,
    downScales: down.scales,
  };
}

const heldAs = (format: QuantizedFormat, { descriptor }: Bank): Bank["descriptor"] => ({
  ...descriptor,
  format,
});

async function check(
  test: CaseContext,
  format: QuantizedFormat,
  bank: Bank,
  hosts: FfnHosts = heldHosts(test, format, bank),
): Promise<void> {
  await holds(test, hosts, (given) => ({ y: ffn(given, heldAs(format, bank)) }));
  ranAsClaimed(test, moeFfn, format);
}

/** The banks in which quantised weights could go wrong: those that differ in how matrices lie. */
const LYING = [
  "silu",
  "gated-concatenated-up-first",
  "gated-interleaved-gate-first",
  "transposed",
  "plain-biases",
  "input-weights-biases",
  "clamp-after",
  "gpt-oss",
] as const;

function shapesOf(format: QuantizedFormat): readonly (readonly [string, Partial<FfnShape>])[] {
  const odd = { input: 33, inner: 7, output: 5 };
  return [
    ...[0, 1, 2, 40].map((tokens) => [`tokens-${tokens}`, { tokens }] as const),
    ["wide", { input: 160, inner: 96, output: 96, tokens: 3 }],
    ["one-block", { input: 32, inner: 32, output: 32 }],
    ["many-choices", { experts: 16, topK: 6, tokens: 8, input: 32 }],
    ["narrow-output", { output: 3 }],
    ...(quantizedFormats[format].block === undefined ? [["odd", odd] as const] : []),
  ];
}

/** A quantised bank computes with the numbers that its codes stand for. */
async function sameAsNumbers(test: CaseContext, format: QuantizedFormat): Promise<void> {
  for (const bank of [USUAL, GPT_OSS]) {
    const hosts = heldHosts(test, format, bank);
    const shapes = {
      up: valueShape(hosts.up.shape, format),
      down: valueShape(hosts.down.shape, format),
    };
    await holds(test, hosts, (given, { float: dtype }) => {
      const { upScales, downScales, ...rest } = given;
      const numbers = (name: "up" | "down", scales: typeof upScales): typeof given.up =>
        scales
          ? dequantize(given[name], scales, { format, shape: shapes[name], dtype })
          : given[name];
      const up = numbers("up", upScales);
      const down = numbers("down", downScales);
      return {
        held: ffn(given, heldAs(format, bank)),
        numbers: ffn({ ...rest, up, down }, bank.descriptor),
      };
    });
  }
}

/** A token has the bits alone that it has in a batch. */
async function sameInBatch(test: CaseContext, format: QuantizedFormat): Promise<void> {
  for (const bank of [USUAL, GPT_OSS]) {
    const hosts = heldHosts(test, format, bank, { ...SHAPE, tokens: 24 });
    const of = (given: FfnHosts): Promise<Record<string, FfnHosts["x"]>> =>
      observed(test, given, (tensors) => ({ y: ffn(tensors, heldAs(format, bank)) }));
    const whole = at(await of(hosts), "y");
    for (const batch of [[0], [23], [5, 6], [0, 1, 2, 3, 4, 5, 6], [23, 20, 3, 8, 1, 0, 2, 9, 7]]) {
      const got = await of({
        ...hosts,
        x: pickRows(hosts.x, batch),
        indices: pickRows(hosts.indices, batch),
        outputWeights: pickRows(hosts.outputWeights, batch),
      });
      test.same(`tokens ${batch.join()}`, at(got, "y").data, pickRows(whole, batch).data);
    }
  }
}

const casesOf = (format: QuantizedFormat): readonly ConformanceCase[] => [
  ...LYING.map((name) =>
    expertCase(
      format,
      name,
      `a ${name} bank held in ${format} is computed with the numbers of its codes`,
      async (test) => {
        await check(test, format, at(BANKS, name));
      },
    ),
  ),
  ...shapesOf(format).map(([name, shape]) =>
    expertCase(format, name, `experts held in ${format}: ${name}`, (test) =>
      check(test, format, USUAL, heldHosts(test, format, USUAL, { ...SHAPE, ...shape })),
    ),
  ),
  expertCase(
    format,
    "no-expert",
    "index E is no expert, whatever its weight, and experts without rows stay unread",
    async (test) => {
      for (const bank of [USUAL, GPT_OSS]) {
        const hosts = heldHosts(test, format, bank);
        const indices = mapped(hosts.indices, (expert, place) =>
          place % 3 === 0 ? 5 : expert % 2,
        );
        await check(test, format, bank, { ...hosts, indices });
      }
    },
  ),
  expertCase(
    format,
    "as-numbers",
    `a bank held in ${format} and one of the numbers that it stands for give the same`,
    (test) => sameAsNumbers(test, format),
  ),
  expertCase(
    format,
    "batch-invariant",
    `a token's bits do not depend on its batch where experts are held in ${format}`,
    (test) => sameInBatch(test, format),
    { unsupported: lacksInvariant(format) },
  ),
  expertCase(
    format,
    "nan-token",
    `NaN in one token does not reach others through ${format}`,
    (test) =>
      staysInRow(
        test,
        heldHosts(test, format, USUAL, { ...SHAPE, tokens: 9 }),
        "x",
        2,
        (given) => ({
          y: ffn(given, heldAs(format, USUAL)),
        }),
      ),
  ),
  expertCase(
    format,
    "gradient",
    `${format} does not train, but gradients flow through it to inputs and weights of choices`,
    async (test) => {
      for (const bank of [USUAL, GPT_OSS]) {
        await gradientsHold(test, heldHosts(test, format, bank), ["x", "outputWeights"], (given) =>
          ffn(given, heldAs(format, bank)),
        );
      }
    },
    { ops: [dequantize, ...GRADIENT_OPS, ...FFN_GRADIENT_OPS] },
  ),
];

/** Cases of experts whose weights are quantised. */
export const quantisedCases: readonly ConformanceCase[] = FORMATS.flatMap(casesOf);
