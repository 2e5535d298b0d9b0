import { type BankOptions, type FfnBank, ffnBank } from "./bank.ts";
import type { FfnOptions } from "./options.ts";
import type { MlpParams } from "./params.ts";

/**
 * A bank of plain feed-forward experts: down(act(up(x))).
 *
 * @example
 * const bank = mlp({ experts: 8, hiddenSize: 64, intermediateSize: 128, activation: "relu" });
 */
export function mlp(options: BankOptions<FfnOptions>): FfnBank<MlpParams> {
  return ffnBank({ ...options, gated: false }) as FfnBank<MlpParams>;
}
