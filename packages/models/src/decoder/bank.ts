import { ConfigError, type ProductFormat, mixExperts } from "@moiety/core";
import {
  type FfnParams,
  type ShapedBank,
  glu,
  latentExperts,
  mixedExperts,
  mlp,
  quantizedExperts,
  scaledExperts,
  timesFactor,
  withOutputBias,
  withSpecialExperts,
} from "@moiety/experts";
import { baseExperts } from "@moiety/routers";
import type { BankWrapping, FfnConfig, MoeConfig } from "./config.ts";
import type { LeafTree } from "./params.ts";

/** A bank of experts, whatever its leaves are. */
export type DecoderBank = ShapedBank<LeafTree>;

/** Sizes that the parts of a bank share. */
interface BankSizes {
  readonly hiddenSize: number;
  readonly initializerRange: number;
  /** Of the experts' matrices. */
  readonly format?: ProductFormat | undefined;
}

/**
 * Builds the bank of a layer for the `experts` of its router.
 * @throws ConfigError naming the option
 */
export function decoderBank(config: MoeConfig, experts: number, sizes: BankSizes): DecoderBank {
  const { expert, others = [], around = [], format } = config;
  const inner = around.find((wrapping) => wrapping.kind === "latent")?.latentSize;
  const inside = { ...sizes, hiddenSize: inner ?? sizes.hiddenSize, format };
  const first = ffnBank(expert, networksOf(config, experts), inside);
  const bank =
    others.length === 0
      ? first
      : anyBank(
          mixedExperts([first, ...others.map((other) => ffnBank(other, other.experts, inside))]),
        );
  return around.reduce((wrapped, wrapping) => wrap(wrapped, wrapping, sizes), bank);
}

/** How many of a layer's `experts` are networks of the first kind: those with weights by number. */
export function networksOf({ others = [], around = [] }: MoeConfig, experts: number): number {
  const special = around.flatMap((wrapping) =>
    wrapping.kind === "special" ? wrapping.experts.map(({ count }) => count) : [],
  );
  const further = others.map((other) => other.experts);
  return [...special, ...further].reduce((left, count) => left - count, experts);
}

function ffnBank(expert: FfnConfig, experts: number, { format, ...sizes }: BankSizes): DecoderBank {
  const options = { ...expert, ...sizes, experts };
  const bank = expert.gated ? glu(options) : mlp(options);
  return anyBank(format === undefined ? bank : quantizedExperts<FfnParams>(bank, { format }));
}

function wrap(bank: DecoderBank, wrapping: BankWrapping, sizes: BankSizes): DecoderBank {
  const { initializerRange } = sizes;
  switch (wrapping.kind) {
    case "special":
      return anyBank(withSpecialExperts(bank, wrapping.experts, { initializerRange }));
    case "latent":
      return wrapping.latentSize === undefined
        ? nested(bank)
        : anyBank(latentExperts(bank, { ...sizes, bias: wrapping.bias }));
    case "scaled":
      return anyBank(scaledExperts(bank, wrapping));
    case "base":
      return baseExperts<LeafTree>(bank);
    case "outputBias":
      return anyBank(withOutputBias(bank));
    case "factor":
      return timesFactor(bank, wrapping.factor);
    default: {
      const { kind } = wrapping as { readonly kind?: unknown };
      throw new ConfigError(`nothing called ${String(kind)} stands around`, "around.kind", kind);
    }
  }
}

/** The same bank with its leaves under `bank`, where those of a wrapped one are. */
function nested(bank: DecoderBank): DecoderBank {
  const inside = (params: LeafTree): LeafTree => params["bank"] as LeafTree;
  const { experts, inputSize, outputSize, shapes } = bank;
  return {
    experts,
    inputSize,
    outputSize,
    shapes: { bank: shapes },
    init: (key, options) => ({ params: { bank: bank.init(key, options).params }, state: {} }),
    forward: (params, rows) => bank.forward(inside(params), rows),
    mix: (params, x, routing) => mixExperts(bank, inside(params), x, routing),
  };
}

/** A bank under the type that all of a decoder's share: what its leaves are, data decided. */
function anyBank(bank: { readonly shapes: unknown }): DecoderBank {
  return bank as DecoderBank;
}
