import {
  ConfigError,
  type LossValue,
  ShapeError,
  type Tensor,
  cast,
  concat,
  crossEntropy,
  div,
  formatShape,
  full,
  maximum,
  select,
  slice,
  sum,
} from "@moiety/core";
import { totalLoss } from "@moiety/losses";
import type { DecoderOutput } from "./decoder/decoder.ts";

/** What {@link modelLoss} gives. */
export interface ModelLoss {
  /** Cross-entropy plus each routing loss times its coefficient. */
  readonly loss: Tensor;
  /** The mean cross-entropy in nats per predicted token. */
  readonly crossEntropy: Tensor;
  /** The routing losses, without their coefficients. */
  readonly losses: readonly LossValue[];
}

/** Any number outside the vocabulary: that row has no target. */
const IGNORED = -100;

/**
 * Mean cross-entropy of every token given those before it, in nats: `logits [B, T, V]`, `ids [B, T]`
 * i32. With a padding `mask [B, T]` (bool), padding is not predicted; the mean is over the rest, and
 * 0 where nothing is left. As Hugging Face's `ForCausalLMLoss` with labels −100 at padding.
 * @throws ShapeError for sequences of one token, which predict nothing
 */
export function causalLoss(logits: Tensor, ids: Tensor, mask?: Tensor): Tensor {
  const [batch = 0, tokens = 0] = ids.shape;
  if (ids.rank !== 2 || logits.rank !== 3 || logits.shape.slice(0, 2).join() !== ids.shape.join()) {
    throw new ShapeError(
      `logits are ${formatShape(logits.shape)} and ids ${formatShape(ids.shape)}, ` +
        "but must be [B, T, V] and [B, T]",
      { shapes: [logits.shape, ids.shape] },
    );
  }
  if (batch === 0 || tokens < 2) {
    throw new ShapeError(
      `ids ${formatShape(ids.shape)} predict nothing; give at least two tokens`,
      {
        shapes: [ids.shape],
      },
    );
  }
  const next = slice(ids, { starts: [0, 1], sizes: [batch, tokens - 1] });
  const counted = mask && slice(mask, { starts: [0, 1], sizes: [batch, tokens - 1] });
  const labels = counted ? select(counted, next, IGNORED) : next;
  const targets = concat(labels, full(ids.backend, [batch, 1], IGNORED, "i32"), { axis: 1 });
  const rows = batch * tokens;
  const losses = crossEntropy(
    logits.reshape([rows, logits.shape[2] ?? 0]),
    targets.reshape([rows]),
  );
  const total = sum(losses);
  if (!counted) return div(total, batch * (tokens - 1));
  return div(total, maximum(sum(cast(counted, { dtype: logits.dtype })), 1));
}

/**
 * The loss that a decoder is trained with: {@link causalLoss} plus Σ coefficient · routing loss. It
 * is Hugging Face's `loss` with `output_router_logits`; here routing losses are never left out.
 */
export function modelLoss(output: DecoderOutput, ids: Tensor, mask?: Tensor): ModelLoss {
  if (output.cache) {
    throw new ConfigError("modelLoss needs a call without a cache", "context.cache", undefined);
  }
  const entropy = causalLoss(output.logits, ids, mask);
  const { losses } = output;
  return { loss: totalLoss(losses, entropy), crossEntropy: entropy, losses };
}
