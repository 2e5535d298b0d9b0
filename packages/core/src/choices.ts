import type { Tensor } from "./tensor.ts";
import { retain } from "./trace.ts";

/**
 * The integers that ops chose from floats during a checkpoint's forward (indices, orders), in the
 * order of the calls, so that the recomputation makes the same choices.
 */
export class Choices {
  readonly #kept: (readonly Tensor[])[] = [];
  readonly #played: Iterator<readonly Tensor[]> | undefined;
  readonly #outer: Choices | undefined;

  /**
   * Plays `played` back; without it, records. A recorder inside a playback (a checkpoint inside a
   * recomputed one) records what the outer one plays.
   */
  constructor(played?: readonly (readonly Tensor[])[], outer?: Choices) {
    this.#played = played?.values();
    this.#outer = outer;
  }

  get kept(): readonly (readonly Tensor[])[] {
    return this.#kept;
  }

  /** What the next call chose before; `undefined` when it has to choose now. */
  next(): readonly Tensor[] | undefined {
    if (this.#played) return this.#played.next().value as readonly Tensor[] | undefined;
    const chosen = this.#outer?.next();
    if (chosen) this.keep(chosen);
    return chosen;
  }

  keep(tensors: readonly Tensor[]): void {
    if (!this.#played) this.#kept.push(tensors.map(retain));
  }
}
