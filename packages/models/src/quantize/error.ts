import {
  ConfigError,
  NumericError,
  type Tensor,
  abs,
  apply,
  argmax,
  cast,
  concat,
  equal,
  exp,
  logSumExp,
  max,
  maximum,
  mul,
  slice,
  square,
  sub,
  sum,
} from "@moiety/core";
import type { ReadyModel } from "../load.ts";

/** How far a quantised model is from the one that it was made of, over the tokens of a text. */
export interface QuantizationError {
  /** Mean over tokens of KL(original ‖ quantised) of the next token's probabilities, in nats. */
  readonly klMean: number;
  /** The largest of them. */
  readonly klMax: number;
  /** The largest difference of two logits. */
  readonly logitMax: number;
  /** Root of the mean square of differences of logits. */
  readonly logitRms: number;
  /** Share of the tokens whose likeliest next token is the same. */
  readonly top1Agreement: number;
  /** Tokens that were compared, B · T. */
  readonly tokens: number;
}

/** Numbers of a sequence, in this order. */
const STATISTICS = 5;

/**
 * Compares the logits of two models on `ids [B, T]`, one sequence after the other. All is computed on
 * the models' backend, and read once.
 * @throws ConfigError for models of other vocabularies; NumericError where logits are not finite
 *
 * @example
 * const { klMean, logitMax } = await quantizationError(ready, await quantize(ready, options), ids);
 */
export async function quantizationError(
  original: ReadyModel,
  quantized: ReadyModel,
  ids: Tensor,
): Promise<QuantizationError> {
  const { vocabSize } = original.model.config;
  if (quantized.model.config.vocabSize !== vocabSize) {
    throw new ConfigError(
      `the models have ${vocabSize} and ${quantized.model.config.vocabSize} tokens; compare one ` +
        "with what was made of it",
      "vocabSize",
      quantized.model.config.vocabSize,
    );
  }
  const [batch = 0, length = 0] = ids.shape;
  if (ids.size === 0) throw new ConfigError("ids hold no token", "ids", ids);
  const rows: Tensor[] = [];
  for (let row = 0; row < batch; row++) {
    rows.push(
      ids.backend.scope(() => {
        const own = slice(ids, { starts: [row, 0], sizes: [1, length] });
        return statisticsOf(logitsOf(original, own), logitsOf(quantized, own));
      }),
    );
  }
  const all = concat(...rows, { axis: 0 });
  for (const row of rows) row.dispose();
  const values = await all.read();
  all.dispose();
  return reportOf(values, ids.size, vocabSize);
}

/** `[T, V]`. */
function logitsOf({ model, params, state }: ReadyModel, ids: Tensor): Tensor {
  const { logits } = apply(model, params, state, ids);
  const [, tokens = 0, vocabulary = 0] = logits.shape;
  return logits.reshape([tokens, vocabulary]);
}

/** `[5]` over the tokens of a sequence: Σ KL, max KL, max |Δ|, Σ Δ², equal first choices. */
function statisticsOf(a: Tensor, b: Tensor): Tensor {
  const logProbabilities = (x: Tensor): Tensor => sub(x, logSumExp(x).reshape([-1, 1]));
  const [p, q] = [logProbabilities(a), logProbabilities(b)];
  // Rounding may leave a little less than the 0 that it is at least.
  const divergence = maximum(sum(mul(exp(p), sub(p, q)), [-1]), 0);
  const difference = sub(a, b);
  const agreement = cast(equal(argmax(a), argmax(b)), { dtype: divergence.dtype });
  const parts = [
    sum(divergence),
    max(divergence),
    max(abs(difference)),
    sum(square(difference)),
    sum(agreement),
  ];
  return concat(...parts.map((part) => part.reshape([1])), { axis: 0 });
}

function reportOf(values: ArrayLike<number>, tokens: number, vocabSize: number): QuantizationError {
  const column = (which: number): number[] =>
    Array.from({ length: values.length / STATISTICS }, (_, row) =>
      Number(values[row * STATISTICS + which]),
    );
  const total = (which: number): number => column(which).reduce((sums, value) => sums + value, 0);
  const report = {
    klMean: total(0) / tokens,
    klMax: Math.max(...column(1)),
    logitMax: Math.max(...column(2)),
    logitRms: Math.sqrt(total(3) / (tokens * vocabSize)),
    top1Agreement: total(4) / tokens,
    tokens,
  };
  if (Object.values(report).every(Number.isFinite)) return report;
  throw new NumericError("the logits are not finite; the model that was given has diverged");
}
