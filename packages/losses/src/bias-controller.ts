import {
  ConfigError,
  DTypeError,
  ShapeError,
  type Tensor,
  add,
  cast,
  div,
  formatShape,
  mean,
  mul,
  sign,
  sub,
  sum,
} from "@moiety/core";
import { floatOf } from "./statistics.ts";
import { type Target, checkTarget, targetTensor } from "./target.ts";

/** Router state with a selection bias, beside whatever else it holds. */
export interface SelectionBiasState {
  /** `[E]`. */
  readonly selectionBias?: Tensor | undefined;
}

/** Options of {@link biasController}. */
export interface BiasControllerOptions {
  /** u: how far a bias moves in one step. DeepSeek-V3: 0.001. */
  readonly rate: number;
  /** Whether the mean of the step is taken off it, so that biases do not drift (torchtitan). */
  readonly centered?: boolean | undefined;
  /**
   * The share of the load that each expert shall have, `[E]`, above 0, summing to 1: c_e is then
   * compared with q_e · Σ c. Even unless given.
   */
  readonly target?: Target | undefined;
}

/** Turns loads into new router state between steps, without a gradient. */
export interface BiasController {
  /** How far a bias moves in one step. */
  readonly rate: number;
  /** Whether the mean of the step is taken off it. */
  readonly centered: boolean;
  /**
   * The state after a step. `load [E]` i32 is the sum of the loads of the whole step: all
   * micro-batches, padding left out, nothing counted twice by recomputation. Inputs stay as they are.
   * @throws ConfigError, ShapeError, DTypeError
   */
  update<State extends SelectionBiasState>(state: State, load: Tensor): State;
}

/**
 * DeepSeek-V3's balancing without a loss: b_e += u · sign(mean(c) − c_e), where c_e is the number of
 * assignments of expert e in the step. The comparison with the mean is exact, in whole numbers (that
 * with a target is in the bias's dtype).
 *
 * Papers: Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts" (2024);
 * DeepSeek-AI, "DeepSeek-V3" (2024). Source: Megatron-LM `moe_utils.py`,
 * `get_updated_expert_bias`.
 * @throws ConfigError
 */
export function biasController(options: BiasControllerOptions): BiasController {
  const { rate, centered = false, target } = options;
  if (!(rate > 0 && Number.isFinite(rate))) {
    throw new ConfigError(
      `biasController: rate is ${String(rate)}, but must be a finite number above 0`,
      "rate",
      rate,
    );
  }
  if (target !== undefined) checkTarget("biasController", target);
  return {
    rate,
    centered,
    update: (state, load) => {
      const bias = checkedBias(state, load);
      const selectionBias = bias.backend.scope(() => {
        const direction = towardsTarget(load, bias, target);
        const step = centered ? sub(direction, mean(direction)) : direction;
        return add(bias, mul(step, rate));
      });
      return { ...state, selectionBias };
    },
  };
}

/** `[E]`: sign(q_e · Σ c − c_e), in the dtype of the bias. */
function towardsTarget(load: Tensor, bias: Tensor, target: Target | undefined): Tensor {
  const dtype = floatOf(bias);
  const shares = targetTensor("biasController", target, load.size, bias);
  if (shares === undefined) return cast(towardsMean(load), { dtype });
  return sign(sub(mul(shares, cast(sum(load), { dtype })), cast(load, { dtype })));
}

/** `[E]` i32: sign(mean(c) − c_e), without the rounding of a mean. */
function towardsMean(load: Tensor): Tensor {
  const experts = load.size;
  const total = sum(load);
  const whole = div(total, experts);
  const rest = sub(total, mul(whole, experts));
  // mean = whole + rest/E, and 0 ≤ rest/E < 1 decides only where c_e = whole.
  return sign(add(mul(sign(sub(whole, load)), 2), sign(rest)));
}

function checkedBias({ selectionBias: bias }: SelectionBiasState, load: Tensor): Tensor {
  if (bias === undefined) {
    throw new ConfigError(
      "biasController: the router's state has no selectionBias; give its spec bias: true",
      "state.selectionBias",
      undefined,
    );
  }
  if (load.dtype !== "i32") {
    throw new DTypeError(`biasController: load is ${load.dtype}, but must be i32; cast it`, {
      op: "biasController",
    });
  }
  if (load.rank === 1 && load.shape[0] === bias.shape[0] && bias.rank === 1) return bias;
  throw new ShapeError(
    `biasController: load ${formatShape(load.shape)} and selectionBias ${formatShape(bias.shape)} ` +
      "must both be [E]",
    { op: "biasController", shapes: [load.shape, bias.shape] },
  );
}
