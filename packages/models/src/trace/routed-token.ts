/** What one layer with experts did with a token. */
export interface RoutedLayer {
  /** The layer's number in the model, from 0; dense layers count. */
  readonly layer: number;
  /** The experts that worked for the token, most important first (see {@link RoutedToken}). */
  readonly experts: readonly number[];
  /** With what each of their outputs was multiplied. */
  readonly weights: readonly number[];
  /** Choices that capacity took away. Absent where there were none. */
  readonly dropped?: number | undefined;
}

/**
 * Where one token went on its way through a model. `experts` are, with
 * - token choice: the token's choices in their order, without those that chose no expert or were
 *   dropped; where inputs are weighted (Llama 4), a weight is that factor times the output's;
 * - expert choice: all experts that took the token, the largest weight first; there may be none;
 * - soft routing: every expert, the largest weight first; a weight is the sum over its slots.
 */
export interface RoutedToken {
  /** Number of the sequence in the batch, from 0. */
  readonly sequence: number;
  /** Place in the sequence, from 0; padding does not count. */
  readonly position: number;
  /** Id of the token that went in. */
  readonly token: number;
  /** Of each layer with experts, in order. */
  readonly layers: readonly RoutedLayer[];
}

/** A layer with experts, as statistics and drawings need to know it. */
export interface ExpertLayer {
  /** The layer's number in the model, from 0; dense layers count. */
  readonly layer: number;
  /** Number of experts E. */
  readonly experts: number;
}
