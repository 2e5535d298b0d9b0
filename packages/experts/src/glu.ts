import { type BankOptions, type FfnBank, ffnBank } from "./bank.ts";
import type { FfnOptions, GateOptions } from "./options.ts";
import type { GluParams } from "./params.ts";

/**
 * A bank of gated experts: down(act(gate(x)) · up(x)) (Shazeer, arXiv 2002.05202). Gate and up are
 * one leaf, `gateUp [E, 2I, H]`, gate first unless the layout says otherwise.
 *
 * @example
 * const bank = glu({ experts: 8, hiddenSize: 64, intermediateSize: 128, activation: "silu" });
 */
export function glu(options: BankOptions<FfnOptions & GateOptions>): FfnBank<GluParams> {
  return ffnBank({ ...options, gated: true }) as FfnBank<GluParams>;
}
