import { type BankSubject, type ConformanceCase, bankCases } from "@moiety/conformance";
import type { ExpertBank, QuantizedFormat } from "@moiety/core";
import {
  type GateOptions,
  glu,
  latentExperts,
  linearExperts,
  lora,
  mixedExperts,
  mlp,
  scaledExperts,
  quantizedExperts,
  timesFactor,
  withMultBias,
  withOutputBias,
  withSpecialExperts,
} from "@moiety/experts";
import { INNER, SIZES } from "./sizes.ts";

const { experts, hiddenSize } = SIZES;
const sizes = { experts, hiddenSize, intermediateSize: INNER } as const;
const silu = { ...sizes, activation: "silu" } as const;

/** gpt-oss: limited before its activation, α, an offset, biases, interleaved, transposed. */
const GPT_OSS: GateOptions & { readonly bias: true; readonly transposed: true } = {
  layout: { packing: "interleaved", first: "gate" },
  clamp: { limit: 0.75 },
  alpha: 1.702,
  upOffset: 1,
  bias: true,
  transposed: true,
};

/** Quantised weights are not moved away from what is drawn, so that is large. */
const LARGE = { initializerRange: 0.3 };
/** Widths of whole blocks. */
const BLOCKS = { hiddenSize: 32, intermediateSize: 32 };

const networks = glu(silu);
const narrow = glu({ ...silu, hiddenSize: 4 });

/** Every bank of `@moiety/experts`, by its maker's name and, behind a dash, how it is made. */
const BANKS: Readonly<Record<string, ExpertBank<unknown>>> = {
  glu: networks,
  "glu-gpt-oss": glu({ ...silu, ...GPT_OSS }),
  "glu-clamp-after": glu({ ...silu, clamp: { limit: 0.25, when: "after" } }),
  "glu-relu": glu({ ...sizes, activation: "relu" }),
  "glu-gelu-up-first": glu({
    ...sizes,
    activation: "gelu",
    layout: { packing: "concatenated", first: "up" },
  }),
  "glu-gelu-tanh": glu({ ...sizes, activation: "geluTanh" }),
  mlp: mlp(silu),
  "mlp-relu-squared": mlp({ ...sizes, activation: "reluSquared" }),
  "mlp-biases": mlp({ ...sizes, activation: "gelu", bias: true, outputSize: 5 }),
  linearExperts: linearExperts({ experts, hiddenSize, bias: true }),
  latentExperts: latentExperts(narrow, { hiddenSize }),
  "latentExperts-biases": latentExperts(narrow, { hiddenSize, bias: true }),
  scaledExperts: scaledExperts(networks),
  "scaledExperts-layer": scaledExperts(networks, { per: "layer" }),
  withOutputBias: withOutputBias(networks),
  withMultBias: withMultBias(networks),
  timesFactor: timesFactor(networks, 0.8),
  quantizedExperts: quantizedExperts(glu({ ...silu, ...LARGE }), { format: "q8_row" }),
  "quantizedExperts-q4_block32": quantizedExperts(glu({ ...silu, ...LARGE, ...BLOCKS }), {
    format: "q4_block32",
  }),
  withSpecialExperts: withSpecialExperts(glu({ ...silu, experts: 5 }), [
    { kind: "identity", count: 1 },
    { kind: "constant", count: 2 },
    { kind: "zero", count: 1 },
  ]),
  mixedExperts: mixedExperts([
    glu({ ...silu, experts: 4 }),
    mlp({ ...silu, experts: 3, intermediateSize: 3 }),
    linearExperts({ experts: 2, hiddenSize }),
  ]),
  lora: lora(networks, { rank: 2, alpha: 4 }),
};

/** Banks that add something once to a token's combined output, which rows alone do not have. */
const COMBINED: readonly string[] = ["latentExperts-biases", "withOutputBias"];

/** Formats of those that have some. */
const FORMATS: Readonly<Record<string, readonly QuantizedFormat[]>> = {
  quantizedExperts: ["q8_row"],
  "quantizedExperts-q4_block32": ["q4_block32"],
};

/** The banks of the catalogue. */
export const bankSubjects: readonly BankSubject[] = Object.entries(BANKS).map(([name, bank]) => ({
  name: `catalogue/${name}`,
  experts: bank,
  rows: !COMBINED.includes(name),
  formats: FORMATS[name],
}));

/**
 * Cases of every bank of the catalogue. How a maker's bank is made shows in its rows; so only one of
 * each maker's stands in a layer.
 */
export const catalogueBankCases: readonly ConformanceCase[] = bankSubjects.flatMap((subject) =>
  bankCases(subject).filter(({ level }) => level === "L3" || !/-/u.test(subject.name)),
);
