/** Tokens of a batch that go through the model together. */
export interface TokenColumns {
  /** `[B, count]`. */
  readonly ids: Int32Array;
  /** `[B, count]`: 0 for padding and for sequences that have ended. Absent where all are tokens. */
  readonly mask: Uint8Array | undefined;
  readonly batch: number;
  readonly count: number;
}

/**
 * Prompts side by side, the shorter ones padded on the left so that all end together. One without
 * tokens is all padding.
 */
export class PromptBatch {
  /** Number of prompts B. */
  readonly batch: number;
  /** Columns: tokens of the longest prompt, or more. */
  readonly width: number;
  readonly #prompts: readonly (readonly number[])[];

  constructor(prompts: readonly (readonly number[])[], width?: number) {
    this.batch = prompts.length;
    this.width = width ?? Math.max(...prompts.map(({ length }) => length));
    this.#prompts = prompts;
  }

  /** Columns `start` to `start + count` of the padded prompts. Padding is token 0. */
  columns(start: number, count: number): TokenColumns {
    const { batch } = this;
    const ids = new Int32Array(batch * count);
    const mask = batch === 1 ? undefined : new Uint8Array(batch * count);
    for (const [row, prompt] of this.#prompts.entries()) {
      const padding = this.width - prompt.length;
      for (let at = Math.max(0, padding - start); at < count; at++) {
        ids[row * count + at] = prompt[start + at - padding] ?? 0;
        if (mask) mask[row * count + at] = 1;
      }
    }
    return { ids, mask, batch, count };
  }
}

/** The next column: a token for each sequence, `undefined` for those that have ended. */
export function columnOf(tokens: readonly (number | undefined)[]): TokenColumns {
  const batch = tokens.length;
  return {
    ids: Int32Array.from(tokens, (token) => token ?? 0),
    mask: batch === 1 ? undefined : Uint8Array.from(tokens, (token) => Number(token !== undefined)),
    batch,
    count: 1,
  };
}
