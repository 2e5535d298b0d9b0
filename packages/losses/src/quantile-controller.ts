import {
  ConfigError,
  type Routing,
  ShapeError,
  type Tensor,
  type TokenChoice,
  add,
  argsort,
  broadcast,
  cast,
  div,
  floor,
  formatShape,
  full,
  greater,
  mean,
  minimum,
  mul,
  neg,
  select,
  slice,
  stopGradient,
  sub,
  sum,
  takeAlong,
  topK,
  transpose,
} from "@moiety/core";
import type { SelectionBiasState } from "./bias-controller.ts";
import { requireOption, requireTokenChoice } from "./options.ts";
import { floatOf } from "./statistics.ts";
import { type Target, checkTarget, targetTensor } from "./target.ts";

/** Options of {@link quantileController}. */
export interface QuantileControllerOptions {
  /** How much of the old bias stays: 0 (the default) takes the new one, below 1. Megatron-LM's `ema`. */
  readonly momentum?: number | undefined;
  /** What the router's spec selects by: `logits` (the default, Megatron-LM) or `scores`. */
  readonly selectBy?: "logits" | "scores" | undefined;
  /** The share of the load that each expert shall have; even unless given. */
  readonly target?: Target | undefined;
}

/** Turns routings into a selection bias that would have evened out their load. */
export interface QuantileController {
  readonly momentum: number;
  /**
   * The bias `[E]` that a micro-batch asks for, without a gradient; the present bias where all is
   * padding. Pure: only what is handed to `update` has an effect.
   * @throws ConfigError, ShapeError, UnsupportedError
   */
  estimate(state: SelectionBiasState, routing: Routing): Tensor;
  /**
   * The state after a step, from the estimates of its micro-batches: momentum · old + (1 − momentum) ·
   * their mean, minus its own mean. Inputs stay as they are.
   * @throws ConfigError, ShapeError
   */
  update<State extends SelectionBiasState>(state: State, estimates: readonly Tensor[]): State;
}

/**
 * Quantile balancing: the selection bias is set, not stepped. With l the logits and b the bias, each
 * token's threshold α_t is the (k+1)-th largest of l_te + b_e, what an expert has to beat; expert e
 * has its share of N tokens if exactly m = ⌊N·k/E⌋ of them give it l_te − α_t above −b_e. So the
 * estimate of b_e is minus the (m+1)-th largest of l_te − α_t over tokens (one step of dual coordinate
 * descent), averaged over micro-batches, blended with the old and centred. Padding is left out. No
 * loss and no rate; with a target q it is m_e = ⌊N·k·q_e⌋.
 *
 * The router needs `bias: true`, and `selectBy: "logits"` in its spec unless told otherwise here. It
 * sorts the tokens of each expert once for each micro-batch.
 *
 * Source: Megatron-LM `moe_utils.py`, `qb_dual_update` (its β is −b), and `_update_router_qb_beta`.
 * @throws ConfigError
 */
export function quantileController(options: QuantileControllerOptions = {}): QuantileController {
  const { momentum = 0, selectBy = "logits", target } = options;
  const name = "quantileController";
  requireOption(name, "selectBy", selectBy, ["logits", "scores"]);
  if (!(momentum >= 0 && momentum < 1)) {
    throw new ConfigError(
      `${name}: momentum is ${String(momentum)}, but must be from 0 to below 1`,
      "momentum",
      momentum,
    );
  }
  if (target !== undefined) checkTarget(name, target);
  return {
    momentum,
    estimate: (state, given) => {
      const routing = requireTokenChoice(name, given);
      const bias = requireBias(name, state, routing.experts);
      return bias.backend.scope(() => estimateBias(name, bias, routing, selectBy, target));
    },
    update: (state, estimates) => {
      const bias = requireBias(name, state, state.selectionBias?.size ?? 0);
      const selectionBias = bias.backend.scope(() => {
        const average = averageOf(name, bias, estimates);
        const blended = add(mul(bias, momentum), mul(average, 1 - momentum));
        return sub(blended, mean(blended));
      });
      return { ...state, selectionBias };
    },
  };
}

function estimateBias(
  name: string,
  bias: Tensor,
  { logits, scores, selected, mask, experts }: TokenChoice,
  selectBy: "logits" | "scores",
  target: Target | undefined,
): Tensor {
  const dtype = floatOf(bias);
  const values = cast(stopGradient(selectBy === "logits" ? logits : scores), { dtype });
  const [tokens = 0] = values.shape;
  const k = selected.shape[1] ?? 0;
  if (k >= experts) {
    throw new ConfigError(`${name} needs k below the ${experts} experts, not ${k}`, "topK", k);
  }
  if (tokens === 0) return add(bias, 0);
  const [best] = topK(add(values, bias), undefined, { k: k + 1 });
  const threshold = slice(best, { starts: [0, k], sizes: [tokens, 1] });
  const margins = transpose(sub(values, threshold), { permutation: [1, 0] });

  const total = mask ? sum(cast(mask, { dtype: "i32" })) : full(bias.backend, [], tokens, "i32");
  const order = argsort(margins, mask && spreadMask(mask, experts), { descending: true });
  const place = takeAlong(order, quantilePlaces(name, total, k, bias, target), { axis: 1 });
  const wanted = neg(takeAlong(margins, place, { axis: 1 })).reshape([experts]);
  return mask ? select(greater(total, 0), wanted, bias) : wanted;
}

/** `[E, 1]` i32: m_e, the place (from 0) of the quantile among an expert's tokens. */
function quantilePlaces(
  name: string,
  total: Tensor,
  k: number,
  bias: Tensor,
  target: Target | undefined,
): Tensor {
  const experts = bias.size;
  const { backend } = bias;
  const last = sub(total, 1);
  const shares = targetTensor(name, target, experts, bias);
  if (shares === undefined) {
    const places = add(full(backend, [experts, 1], 0, "i32"), div(mul(total, k), experts));
    return minimum(places, last);
  }
  const assignments = mul(cast(total, { dtype: floatOf(bias) }), k);
  // The shares are rounded: what is whole but for that shall count as whole.
  const places = floor(add(mul(shares, assignments), 1e-3));
  return minimum(cast(places, { dtype: "i32" }).reshape([experts, 1]), last);
}

/** `[E, T]`: the mask of tokens, for each expert. */
function spreadMask(mask: Tensor, experts: number): Tensor {
  return broadcast(mask.reshape([1, mask.size]), { shape: [experts, mask.size] });
}

/** The mean of the estimates. @throws ConfigError, ShapeError */
function averageOf(name: string, bias: Tensor, estimates: readonly Tensor[]): Tensor {
  const [first, ...rest] = estimates;
  if (first === undefined) {
    throw new ConfigError(`${name} needs the estimate of a micro-batch`, "estimates", estimates);
  }
  for (const { shape } of estimates) {
    if (shape.length === 1 && shape[0] === bias.size) continue;
    throw new ShapeError(
      `${name}: an estimate is ${formatShape(shape)}, but must be [${bias.size}]`,
      { op: name, shapes: [shape, bias.shape] },
    );
  }
  const total = rest.reduce((sumSoFar, estimate) => add(sumSoFar, estimate), first);
  return div(total, estimates.length);
}

function requireBias(name: string, { selectionBias }: SelectionBiasState, experts: number): Tensor {
  if (selectionBias === undefined) {
    throw new ConfigError(
      `${name}: the router's state has no selectionBias; give its spec bias: true`,
      "state.selectionBias",
      undefined,
    );
  }
  if (selectionBias.rank === 1 && selectionBias.size === experts) return selectionBias;
  throw new ShapeError(
    `${name}: selectionBias is ${formatShape(selectionBias.shape)}, but must be [${experts}]`,
    { op: name, shapes: [selectionBias.shape] },
  );
}
