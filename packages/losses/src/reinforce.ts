import {
  ConfigError,
  type Routing,
  type RoutingLoss,
  ShapeError,
  type Tensor,
  type TokenChoice,
  add,
  cast,
  div,
  equal,
  exp,
  formatShape,
  less,
  log,
  maximum,
  mul,
  neg,
  onesLike,
  putAlong,
  select,
  slice,
  square,
  stopGradient,
  sub,
  sum,
  takeAlong,
  topK,
  zeros,
} from "@moiety/core";
import { type LossOptions, defineLoss, meanOfLayers, requireTokenChoice } from "./options.ts";
import { floatOf } from "./statistics.ts";

/** Options of {@link reinforceLoss}. */
export interface ReinforceLossOptions extends LossOptions {
  /**
   * `[T]`: what each token earned in this step, such as minus its loss. No gradient flows into it. The
   * loss is made anew for each step's reward.
   */
  readonly reward: Tensor;
  /** Factor of the baseline's squared error, where the routing has one; 1 unless given. */
  readonly baselineCoefficient?: number | undefined;
}

/**
 * The surrogate loss of REINFORCE: mean over tokens of −sg(r − b) · log π(choices) + c · (r − b)²,
 * whose gradient with respect to the logits is −(r − b) · ∇ log π and pulls the baseline b towards the
 * reward r. b is the routing's `carry.reinforceBaseline [T, 1]` (0 without it). π is the chance of the
 * choices `[T, k]` drawn one after another from softmax(logits) without replacement: log π = Σ_j l_ij −
 * log Σ_{e not chosen before j} e^{l_e}; choices of no expert count as 1. The loss's value says
 * nothing about balance. The mean over layers; padding is left out.
 *
 * Papers: Williams (1992); Clark et al., "Unified scaling laws for routed language models" (2022).
 * @throws ConfigError, and ShapeError where the reward is not one number for each token
 */
export function reinforceLoss(options: ReinforceLossOptions): RoutingLoss {
  const name = "reinforceLoss";
  const { reward, baselineCoefficient = 1 } = options;
  if (!(baselineCoefficient >= 0 && Number.isFinite(baselineCoefficient))) {
    throw new ConfigError(
      `${name}: baselineCoefficient is ${String(baselineCoefficient)}, but must be a finite number ` +
        "from 0",
      "baselineCoefficient",
      baselineCoefficient,
    );
  }
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      const earned = rewardOf(name, reward, routing);
      const foretold = routing.carry?.["reinforceBaseline"];
      const error = foretold ? sub(earned, foretold.reshape(earned.shape)) : earned;
      const surrogate = neg(mul(stopGradient(error), choiceLogProbability(routing)));
      const total = foretold ? add(surrogate, mul(square(error), baselineCoefficient)) : surrogate;
      return meanOfTokens(total, routing);
    }),
  );
}

/**
 * `[T]`: the logarithm of the chance to draw a token's choices one after another, without replacement,
 * from the softmax of its logits.
 */
export function choiceLogProbability({ logits, selected, experts }: TokenChoice): Tensor {
  const [tokens = 0, k = 0] = selected.shape;
  let taken = zeros(logits.backend, logits.shape, "i32");
  let total: Tensor | undefined;
  for (let place = 0; place < k; place++) {
    const chosen = slice(selected, { starts: [0, place], sizes: [tokens, 1] });
    const chance = logChance(logits, chosen, equal(taken, 0), experts);
    total = total ? add(total, chance) : chance;
    taken = putAlong(taken, chosen, onesLike(chosen), { axis: 1 });
  }
  return (total ?? zeros(logits.backend, [tokens, 1], floatOf(logits))).reshape([tokens]);
}

/** `[T, 1]`: l_i − log Σ e^l over the open experts, the largest of them subtracted first. */
function logChance(logits: Tensor, chosen: Tensor, open: Tensor, experts: number): Tensor {
  const peak = topK(stopGradient(logits), open, { k: 1 })[0];
  const shifted = select(open, sub(logits, peak), 0);
  const powers = select(open, exp(shifted), 0);
  const own = takeAlong(shifted, chosen, { axis: 1, unique: true });
  return select(less(chosen, experts), sub(own, log(sum(powers, [1], true))), 0);
}

function rewardOf(name: string, reward: Tensor, { logits }: Routing): Tensor {
  const [tokens = 0] = logits.shape;
  if (reward.size !== tokens) {
    throw new ShapeError(
      `${name}: the reward is ${formatShape(reward.shape)}, but must be [${tokens}], a number for ` +
        "each token",
      { shapes: [reward.shape] },
    );
  }
  const still = stopGradient(reward).reshape([tokens]);
  return still.dtype === logits.dtype ? still : cast(still, { dtype: floatOf(logits) });
}

function meanOfTokens(values: Tensor, { mask }: Routing): Tensor {
  if (!mask) return div(sum(values), Math.max(values.size, 1));
  const count = sum(cast(mask, { dtype: floatOf(values) }));
  return div(sum(select(mask, values, 0)), maximum(count, 1));
}
