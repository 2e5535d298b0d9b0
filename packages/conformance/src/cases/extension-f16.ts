import { type AnyOp, cast, gatherRows, moeFfn } from "@moiety/core";
import type { CaseContext, ConformanceCase, Level } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { FFN_GRADIENT_OPS } from "./grad-fused.ts";
import { GRADIENT_OPS, gradientsHold } from "./grad-support.ts";
import { bfloated, halved } from "./half-support.ts";
import {
  BANKS,
  type Bank,
  FFN_OPS,
  type FfnShape,
  GPT_OSS,
  USUAL,
  ffn,
  ffnHosts,
} from "./l3-ffn-support.ts";
import { holds, at, caseOf, mapped, observed, staysInRow } from "./l3-support.ts";

const halfCase = (
  level: Level,
  what: string,
  demand: string,
  ops: readonly AnyOp[],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase => caseOf(level, `f16/${what}`, { demand, extension: "f16", ops, run });

/** Every bit pattern of half floats. */
const PATTERNS: HostTensor = generated([256, 256], "f16", (index) => index);

/** Whether a pattern is subnormal: a backend may take it for 0. */
const isSubnormal = (bits: number): boolean => (bits & 0x7c00) === 0 && (bits & 0x3ff) !== 0;
const isNaN16 = (bits: number): boolean => (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;

const casts: readonly ConformanceCase[] = [
  halfCase("L0", "widen", "every half float becomes its own number in float32", [cast], (test) =>
    holds(test, { x: PATTERNS }, ({ x }, { float }) => ({ y: cast(x, { dtype: float }) }), {
      ambiguous: 0.05,
    }),
  ),
  halfCase(
    "L0",
    "round-trip",
    "every half float survives float32, subnormal ones or as 0, NaN as NaN",
    [cast],
    async (test) => {
      const got = at(
        await observed(test, { x: PATTERNS }, ({ x }, { float }) => ({
          y: cast(cast(x, { dtype: float }), { dtype: "f16" }),
        })),
        "y",
      );
      for (const [index, bits] of got.data.entries()) {
        const flushed = isSubnormal(index) && (bits & 0x7fff) === 0;
        const ok = bits === index || flushed || (isNaN16(index) && isNaN16(bits));
        test.expect(ok, `0x${index.toString(16)} came back as 0x${bits.toString(16)}`);
      }
    },
  ),
  halfCase(
    "L0",
    "narrow",
    "float32 becomes one of the two nearest half floats",
    [cast],
    async (test) => {
      const usual = test.random.normal([2000], 3);
      const wide = mapped(
        test.random.normal([2000]),
        (value, index) => value * 2 ** ((index % 40) - 20),
      );
      const halves = mapped(
        test.random.uniform([2000], 1, 2),
        (value) => Math.round(value * 2048) / 2048,
      );
      const ends = hostTensor([
        65504,
        -65504,
        65519.9,
        65536,
        1e9,
        -1e9,
        2 ** -14,
        2 ** -25,
        0,
        -0,
      ]);
      await holds(
        test,
        { usual, wide, halves, ends },
        (given) =>
          Object.fromEntries(
            Object.entries(given).map(([name, x]) => [name, cast(x, { dtype: "f16" })]),
          ),
        { ambiguous: 0.5 },
      );
    },
  ),
  halfCase(
    "L2",
    "rows",
    "rows of a table of half floats are read, odd widths too",
    [gatherRows, cast],
    async (test) => {
      for (const width of [1, 3, 8, 33]) {
        const table = halved(test.random.normal([11, width]));
        const ids = test.random.integers([17], -1, 11);
        await holds(test, { table, ids }, (given, { float }) => ({
          rows: cast(gatherRows(given.table, given.ids), { dtype: float }),
        }));
      }
    },
  ),
];

const SHAPE: FfnShape = { tokens: 17, experts: 5, topK: 2, input: 12, inner: 7, output: 10 };

/** Inputs of an expert path whose matrices are half floats. */
function halfHosts(test: CaseContext, bank: Bank, shape: FfnShape): ReturnType<typeof ffnHosts> {
  const hosts = ffnHosts(test, bank, shape);
  return { ...hosts, up: halved(hosts.up), down: halved(hosts.down) };
}

async function checkHalf(test: CaseContext, bank: Bank, shape: FfnShape = SHAPE): Promise<void> {
  await holds(test, halfHosts(test, bank, shape), (given) => ({ y: ffn(given, bank.descriptor) }));
  const { ops, formats, fusedFormats = formats } = test.capabilities;
  if (!ops.includes(moeFfn.name) || !fusedFormats.includes("f16")) return;
  const entry = test.backend.record()[moeFfn.name];
  test.expect(
    (entry?.kernel ?? 0) > 0 && entry?.decomposed === 0,
    "the manifest has the format f16 and moeFfn, but a call with half floats was taken apart",
  );
}

const experts: readonly ConformanceCase[] = [
  ...Object.entries(BANKS).map(([name, bank]) =>
    halfCase(
      "L3",
      `experts-${name}`,
      `a ${name} bank held in half floats is computed in the accumulation of float32`,
      [...FFN_OPS, cast],
      (test) => checkHalf(test, bank),
    ),
  ),
  ...[0, 1, 9, 130].map((tokens) =>
    halfCase(
      "L3",
      `experts-tokens-${tokens}`,
      `${tokens} tokens meet experts held in half floats`,
      [...FFN_OPS, cast],
      (test) => checkHalf(test, USUAL, { ...SHAPE, tokens }),
    ),
  ),
  ...[1, 3, 33, 65].map((size) =>
    halfCase(
      "L3",
      `experts-width-${size}`,
      `rows of ${size} half floats, which end within a word`,
      [...FFN_OPS, cast],
      async (test) => {
        await checkHalf(test, USUAL, { ...SHAPE, input: size });
        await checkHalf(test, GPT_OSS, { ...SHAPE, inner: size, output: size });
      },
    ),
  ),
  {
    ...halfCase(
      "L3",
      "experts-bf16",
      "banks held in bfloat16 are computed in the accumulation of float32",
      [...FFN_OPS, cast],
      async (test) => {
        for (const bank of [USUAL, GPT_OSS]) {
          const hosts = ffnHosts(test, bank, SHAPE);
          const bfloats = { ...hosts, up: bfloated(hosts.up), down: bfloated(hosts.down) };
          await holds(test, bfloats, (given) => ({ y: ffn(given, bank.descriptor) }));
        }
      },
    ),
    unsupported: ({ dtypes }) => (dtypes.includes("bf16") ? undefined : "the manifest has no bf16"),
  },
  halfCase(
    "L3",
    "experts-nan-token",
    "NaN in one token does not reach others through half floats",
    [...FFN_OPS, cast],
    (test) =>
      staysInRow(test, halfHosts(test, USUAL, { ...SHAPE, tokens: 33 }), "x", 2, (given) => ({
        y: ffn(given, USUAL.descriptor),
      })),
  ),
  halfCase(
    "L3",
    "experts-gradient",
    "half floats do not train, but gradients flow through them to inputs and weights of choices",
    [...GRADIENT_OPS, ...FFN_GRADIENT_OPS, cast],
    (test) =>
      gradientsHold(test, halfHosts(test, USUAL, SHAPE), ["x", "outputWeights"], (given) =>
        ffn(given, USUAL.descriptor),
      ),
  ),
];

/** Cases of half floats. */
export const halfCases: readonly ConformanceCase[] = [...casts, ...experts];
