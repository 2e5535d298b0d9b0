import { type ProductFormat, dequantize, moeFfn } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
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
} from "./l3-ffn-support.ts";
import { at, caseOf, holds, observed, pickRows, staysInRow } from "./l3-support.ts";
import { lacks, lacksInvariant, ranAsClaimed } from "./quantised-support.ts";
import { ROUNDED_SHAPE, byParts, decidedHosts } from "./rounded-ffn.ts";
import { ROUNDING_FORMATS, ROUND_OPS } from "./rounded-support.ts";

/** gpt-oss's, with matrices that lie so that blocks run along what is added up. */
const GPT_OSS_ROWS: Bank = {
  ...GPT_OSS,
  descriptor: { ...GPT_OSS.descriptor, transposed: false },
};

/** The banks in which rounded activations could go wrong. */
const ROUNDED: Readonly<Record<string, Bank>> = {
  ...Object.fromEntries(
    [
      "relu",
      "silu",
      "gated-concatenated-up-first",
      "gated-interleaved-gate-first",
      "plain-biases",
      "input-weights",
      "input-weights-biases",
      "clamp-after",
    ].map((name) => [name, at(BANKS, name)]),
  ),
  "gpt-oss": GPT_OSS_ROWS,
};

const SHAPES: readonly (readonly [string, Partial<FfnShape>])[] = [
  ...[0, 1, 2, 40].map((tokens) => [`tokens-${tokens}`, { tokens }] as const),
  ["wide", { input: 160, inner: 96, output: 96, tokens: 3 }],
  ["one-block", { input: 32, inner: 32, output: 32 }],
  ["many-choices", { experts: 16, topK: 6, tokens: 8, input: 32 }],
  ["narrow-output", { output: 3 }],
];

const heldAs = (format: ProductFormat, { descriptor }: Bank): Bank["descriptor"] => ({
  ...descriptor,
  format,
});

async function check(
  test: CaseContext,
  format: ProductFormat,
  bank: Bank,
  hosts: FfnHosts,
): Promise<void> {
  await holds(test, hosts, (given) => ({ y: ffn(given, heldAs(format, bank)) }));
  ranAsClaimed(test, moeFfn, format);
}

/** A token has the bits alone that it has in a batch. */
async function sameInBatch(test: CaseContext, format: ProductFormat): Promise<void> {
  for (const bank of [USUAL, GPT_OSS_ROWS]) {
    const hosts = await decidedHosts(test, format, bank, { tokens: 24 });
    const of = (given: FfnHosts): Promise<Record<string, HostTensor>> =>
      observed(test, given, (tensors) => ({ y: ffn(tensors, heldAs(format, bank)) }));
    const whole = at(await of(hosts), "y");
    for (const batch of [[0], [23], [5, 6], [0, 1, 2, 3, 4, 5, 6], [23, 20, 3, 8, 1, 0, 2, 9, 7]]) {
      const { x, indices, outputWeights } = hosts;
      const part = { x, indices, outputWeights };
      const picked = Object.entries(part).map(([name, one]) => [name, pickRows(one, batch)]);
      const got = await of({ ...hosts, ...Object.fromEntries(picked) });
      test.same(`tokens ${batch.join()}`, at(got, "y").data, pickRows(whole, batch).data);
    }
  }
}

const OPS = [dequantize, ...FFN_OPS, ...ROUND_OPS] as const;

const roundedCase = (
  format: ProductFormat,
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<ConformanceCase> = {},
): ConformanceCase =>
  caseOf("L3", `quantised/${format}-${what}`, {
    demand,
    extension: "quantised",
    ops: OPS,
    unsupported: (capabilities) => lacks(format, capabilities),
    run,
    ...more,
  });

const casesOf = (format: ProductFormat): readonly ConformanceCase[] => [
  ...Object.entries(ROUNDED).map(([name, bank]) =>
    roundedCase(
      format,
      name,
      `both products of a ${name} bank held in ${format} read rounded rows`,
      async (test) => check(test, format, bank, await decidedHosts(test, format, bank)),
    ),
  ),
  ...SHAPES.map(([name, shape]) =>
    roundedCase(format, name, `experts held in ${format}: ${name}`, async (test) =>
      check(test, format, USUAL, await decidedHosts(test, format, USUAL, shape)),
    ),
  ),
  roundedCase(
    format,
    "no-expert",
    "index E is no expert, whatever its weight, and experts without rows stay unread",
    async (test) => {
      for (const bank of [USUAL, GPT_OSS_ROWS]) {
        const chosen = (expert: number, place: number): number =>
          place % 3 === 0 ? ROUNDED_SHAPE.experts : expert % 2;
        await check(test, format, bank, await decidedHosts(test, format, bank, {}, chosen));
      }
    },
  ),
  roundedCase(
    format,
    "as-parts",
    `a bank held in ${format} gives what rounding its rows and multiplying by its numbers gives`,
    async (test) => {
      for (const bank of [USUAL, GPT_OSS_ROWS]) {
        const hosts = await decidedHosts(test, format, bank);
        await holds(test, hosts, (given, run) => ({
          held: ffn(given, heldAs(format, bank)),
          parts: byParts(given, format, bank, run).y,
        }));
      }
    },
  ),
  roundedCase(
    format,
    "batch-invariant",
    `a token's bits do not depend on its batch where experts are held in ${format}`,
    (test) => sameInBatch(test, format),
    { unsupported: lacksInvariant(format) },
  ),
  roundedCase(
    format,
    "nan-token",
    `NaN in one token does not reach others through ${format}`,
    async (test) =>
      staysInRow(test, await decidedHosts(test, format, USUAL, { tokens: 9 }), "x", 2, (given) => ({
        y: ffn(given, heldAs(format, USUAL)),
      })),
  ),
  roundedCase(
    format,
    "gradient",
    `gradients flow through ${format} to inputs and weights of choices as if nothing were rounded`,
    async (test) => {
      for (const bank of [USUAL, GPT_OSS_ROWS]) {
        const hosts = await decidedHosts(test, format, bank);
        await gradientsHold(test, hosts, ["x", "outputWeights"], (given) =>
          ffn(given, heldAs(format, bank)),
        );
      }
    },
    { ops: [...OPS, ...GRADIENT_OPS, ...FFN_GRADIENT_OPS] },
  ),
];

/** Cases of experts whose products read rounded activations. */
export const roundedCases: readonly ConformanceCase[] = ROUNDING_FORMATS.flatMap(casesOf);
