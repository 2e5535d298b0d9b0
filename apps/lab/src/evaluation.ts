import { type Backend, apply, concat, crossEntropy, div, sum } from "@moiety/core";
import type { DecoderModel, DecoderParams, DecoderState } from "@moiety/models";
import type { Evaluation } from "./result.ts";
import type { Batch } from "./windows.ts";

/** A model with the values that it has at some step. */
export interface Trained {
  readonly model: DecoderModel;
  readonly params: DecoderParams;
  readonly state: DecoderState;
}

/** Bits of one nat. */
export const bitsPerNat: number = Math.LOG2E;

/**
 * Runs a model on held-out windows: the bits/byte of each, and which experts took the bytes of
 * which domain.
 *
 * @param batches none of them mixes domains.
 */
export async function evaluate(
  { model, params, state }: Trained,
  batches: readonly Batch[],
  domains: number,
  backend: Backend,
): Promise<Evaluation> {
  const bitsPerByte: number[] = [];
  const load: number[][][] = [];
  for (const batch of batches) {
    const { rows, length } = batch;
    const { losses, counts, layers } = backend.scope(() => {
      const ids = backend.tensor(batch.inputs, { shape: [rows, length] });
      const output = apply(model, params, state, ids);
      const { logits, loads } = output;
      const each = crossEntropy(
        logits.reshape([rows * length, logits.shape.at(-1) ?? 0]),
        backend.tensor(batch.targets),
      );
      return {
        losses: div(sum(each.reshape([rows, length]), [1]), length),
        counts: concat(...loads, { axis: 0 }),
        layers: loads.length,
      };
    });
    const [nats, counted] = await Promise.all([losses.read(), counts.read()]);
    losses.dispose();
    counts.dispose();
    for (const nat of nats) bitsPerByte.push(nat * bitsPerNat);
    const experts = counted.length / layers;
    for (let layer = 0; layer < layers; layer++) {
      const table = (load[layer] ??= emptyTable(domains, experts));
      const row = table[batch.domains[0] ?? 0] ?? [];
      for (let expert = 0; expert < experts; expert++) {
        row[expert] = (row[expert] ?? 0) + (counted[layer * experts + expert] ?? 0);
      }
    }
  }
  return { bitsPerByte, load };
}

function emptyTable(rows: number, columns: number): number[][] {
  return Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
}
