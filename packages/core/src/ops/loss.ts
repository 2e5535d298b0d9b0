import type { TensorSpec } from "../contract.ts";
import { pullBack } from "../gradient.ts";
import { type NoAttributes, type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { and, greaterEqual, less, select, sub } from "./arithmetic.ts";
import {
  FLOATS,
  requireDType,
  requireFloat,
  requireOneDType,
  requireRank,
  requireShape,
  shapeError,
} from "./checks.ts";
import { zerosLike } from "./creation.ts";
import { takeAlong } from "./gather.ts";
import { logSumExp } from "./softmax.ts";

type LossInputs = [logits: Tensor, targets: Tensor];

/**
 * Cross-entropy of each row: `logits [N, V]` float, `targets [N]` i32 → `[N]`,
 * `log Σ e^logits − logits[target]` in nats. A target outside 0…V−1 (such as −100) is ignored: its
 * loss and its gradient are 0. Residual: the `logSumExp [N]` of the rows.
 */
export const crossEntropy: Op<LossInputs, NoAttributes, Tensor, [logSumExp: Tensor]> =
  /*#__PURE__*/ defineOp<LossInputs, NoAttributes, Tensor, [logSumExp: Tensor]>({
    name: "crossEntropy",
    inputs: ["logits", "targets"],
    infer: ([logits, targets]) => requireRows("crossEntropy", logits, targets),
    residuals: ([logits]) => [{ shape: logits.shape.slice(0, 1), dtype: logits.dtype }],
    gradient({ inputs: [logits, targets], residuals: [residual], gradients: [gradient] }) {
      if (!gradient) return [];
      return [crossEntropyBackward(logits, targets, residual, gradient)];
    },
    backward: () => crossEntropyBackward,
    decompose: ([logits, targets]) => lossOf(logits, targets),
  });

/**
 * Gradient of {@link crossEntropy} with respect to the logits: `(softmax(logits) − onehot(target)) ·
 * gradient`, zero in ignored rows; `logits [N, V]`, `targets [N]` i32, its residual and `gradient
 * [N]` → `[N, V]`.
 */
export const crossEntropyBackward: Op<
  [logits: Tensor, targets: Tensor, logSumExp: Tensor, gradient: Tensor]
> = /*#__PURE__*/ defineOp({
  name: "crossEntropyBackward",
  inputs: ["logits", "targets", "logSumExp", "gradient"],
  infer([logits, targets, residual, gradient]) {
    const op = "crossEntropyBackward";
    const inputs = [logits, targets, residual, gradient];
    const { shape } = requireRows(op, logits, targets);
    requireOneDType(op, [logits, residual, gradient], FLOATS);
    requireShape(op, "logSumExp", residual, shape, inputs);
    requireShape(op, "gradient", gradient, shape, inputs);
    return logits;
  },
  decompose([logits, targets, , gradient]) {
    const forward = (x: Tensor | undefined): Tensor[] => [lossOf(x as Tensor, targets)];
    return pullBack([logits], forward, [gradient])[0] ?? zerosLike(logits);
  },
});

function lossOf(logits: Tensor, targets: Tensor): Tensor {
  const [rows = 0, classes = 0] = logits.shape;
  const chosen = takeAlong(logits, targets.reshape([rows, 1]), { axis: 1, unique: true });
  const counts = and(greaterEqual(targets, 0), less(targets, classes));
  return select(counts, sub(logSumExp(logits), chosen.reshape([rows])), 0);
}

function requireRows(op: string, logits: TensorSpec, targets: TensorSpec): TensorSpec {
  requireFloat(op, "logits", logits.dtype);
  requireDType(op, "targets", targets.dtype, ["i32"]);
  requireRank(op, "logits", logits, 2, 2);
  requireShape(op, "targets", targets, logits.shape.slice(0, 1), [logits, targets]);
  if (logits.shape[1] === 0 && logits.shape[0] !== 0) {
    throw shapeError(op, "there are no classes", [logits, targets]);
  }
  return { shape: targets.shape, dtype: logits.dtype };
}
