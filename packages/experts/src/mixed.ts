import {
  ConfigError,
  type Rows,
  type Tensor,
  foldIn,
  less,
  select,
  slice,
  sub,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { refuse } from "./options.ts";
import { requireResident } from "./wrap.ts";

/** A bank for each kind of expert. */
export type BanksOf<Parts extends readonly unknown[]> = {
  readonly [K in keyof Parts]: ShapedBank<Parts[K]>;
};

/**
 * Experts of several kinds and sizes in one layer (Ernie 4.5 VL's two sizes; HMoE, arXiv 2408.10681):
 * the first bank has ids from 0, the next those behind it. Parameters are the list of the banks'.
 * Each bank runs on the window of sorted rows that belongs to it, so a token's choices are added in
 * their order whatever bank they are in, as in a uniform bank. All banks take and give the same
 * widths; `latentExperts` brings others to them.
 *
 * @example
 * const bank = mixedExperts([glu({ ...wide, experts: 2 }), mlp({ ...narrow, experts: 6 })]);
 * @throws ConfigError where the banks do not fit together
 */
export function mixedExperts<Parts extends readonly unknown[]>(
  banks: readonly [...BanksOf<Parts>],
): ShapedBank<Parts> {
  const list: readonly ShapedBank<Parts[number]>[] = banks;
  const [first] = list;
  if (first === undefined) throw refuse("banks", "empty", "a list of banks");
  const { inputSize, outputSize } = first;
  const starts: number[] = [];
  let experts = 0;
  for (const [index, bank] of list.entries()) {
    requireResident("mixedExperts", bank);
    requireFit(bank, index, inputSize, outputSize);
    starts.push(experts);
    experts += bank.experts;
  }
  return {
    experts,
    inputSize,
    outputSize,
    shapes: list.map(({ shapes }) => shapes) as unknown as ShapedBank<Parts>["shapes"],
    init(key, options) {
      const params = list.map((bank, index) => bank.init(foldIn(key, index), options).params);
      return { params: params as unknown as Parts, state: {} };
    },
    forward(params, rows) {
      const outputs = list.map((bank, index) =>
        bank.forward(params[index], windowOf(rows, starts[index] ?? 0, bank.experts)),
      );
      return rowsOfBanks(outputs, starts, rows.group);
    },
  };
}

/** The rows of `experts` experts from `start` on, under ids from 0. */
function windowOf(rows: Rows, start: number, experts: number): Rows {
  return {
    ...rows,
    offsets: slice(rows.offsets, { starts: [start], sizes: [experts + 1] }),
    group: start === 0 ? rows.group : sub(rows.group, start),
  };
}

/** Every row from the bank it belongs to. */
function rowsOfBanks(outputs: readonly Tensor[], starts: readonly number[], group: Tensor): Tensor {
  const row = group.reshape([group.size, 1]);
  return outputs.reduceRight((behind, output, index) =>
    select(less(row, starts[index + 1] ?? 0), output, behind),
  );
}

function requireFit<Params>(
  bank: ShapedBank<Params>,
  index: number,
  inputSize: number,
  outputSize: number,
): void {
  if (bank.inputSize === inputSize && bank.outputSize === outputSize) return;
  throw new ConfigError(
    `bank ${index} is ${bank.inputSize} → ${bank.outputSize} wide, but the first is ` +
      `${inputSize} → ${outputSize}; bring it to those widths with latentExperts`,
    `banks.${index}`,
    bank.inputSize,
  );
}
