import {
  ConfigError,
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  add,
  cast,
  mul,
  sign,
  stopGradient,
  sub,
  sum,
} from "@moiety/core";
import { type LossOptions, defineLoss, meanOfLayers, requireTokenChoice } from "./options.ts";
import {
  countChoices,
  countTokens,
  floatOf,
  meanBy,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";

/** Options of {@link reluSparsity}. */
export interface ReluSparsityOptions extends LossOptions {
  /** k: the count of experts per token that balance is measured against. */
  readonly topK: number;
}

/**
 * ReMoE's refined L1 loss, times the factor λ that the routing carries: λ · Σ_e f_e · R̄_e · E with
 * R̄_e the mean weight that expert e gets and f_e the number of its tokens over k · T. It makes
 * weights small, and most where load is high: λ times the mean sum of a token's weights when k experts
 * are active on average and load is even.
 * f and λ are constants for the gradient; padding is left out; the mean over layers.
 *
 * Paper: Wang, Chen & Zhu, "ReMoE" (2024). Source: ReMoE's Megatron-LM `router.py`,
 * `apply_l1_reg`.
 * @throws ConfigError; ConfigError from `evaluate` where the routing carries no λ
 */
export function reluSparsity(options: ReluSparsityOptions): RoutingLoss {
  const name = "reluSparsity";
  const { topK } = options;
  requireCount(name, "topK", topK);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      const stretches = stretchesOf(routing, "batch");
      const tokens = countTokens(routing, stretches);
      const active = countChoices(routing.selected, routing, stretches);
      const share = meanBy(active, mul(tokens, topK));
      const weight = meanBy(sumTokens(routing.scores, routing, stretches), tokens);
      const product = mul(sum(mul(share, weight)), routing.experts);
      return mul(product, carriedCoefficient(routing, product));
    }),
  );
}

/** Router state with λ, a scalar, beside whatever else it holds. */
export type SparsityState =
  | { readonly sparsityCoefficient?: Tensor | undefined }
  | { readonly [name: string]: Tensor | undefined };

/** Options of {@link reluController}. */
export interface ReluControllerOptions {
  /** E. */
  readonly experts: number;
  /** k: how many experts shall be active for a token on average. */
  readonly topK: number;
  /** α: the factor of one step, above 1; 1.2 unless given. */
  readonly multiplier?: number | undefined;
}

/** Turns counts of active experts into λ between steps. */
export interface ReluController {
  /** 1 − k/E. */
  readonly targetSparsity: number;
  /** α. */
  readonly multiplier: number;
  /**
   * The state after a step. `load [E]` i32 is the sum of the loads (before dropping) of the whole
   * step, and `tokens` how many tokens were routed in it, padding left out: a number, or a scalar.
   * For one λ over several layers give the sum of their loads, and tokens times layers.
   * @throws ConfigError
   */
  update<State extends SparsityState>(state: State, load: Tensor, tokens: number | Tensor): State;
}

/**
 * ReMoE's sparsity controller: λ ← λ · α^sign((1 − k/E) − S), with S the share of (token, expert)
 * pairs that are not active in the step. Too few zeros make λ grow, too many make it shrink; exactly
 * as many leave it.
 *
 * Paper: Wang, Chen & Zhu, "ReMoE" (2024). In its training runs λ starts from 1e-8 and α is 1.2.
 * @throws ConfigError
 */
export function reluController(options: ReluControllerOptions): ReluController {
  const name = "reluController";
  const { experts, topK, multiplier = 1.2 } = options;
  requireCount(name, "experts", experts);
  requireCount(name, "topK", topK);
  if (topK > experts) throw refuse(name, "topK", topK, `at most ${experts}, the experts`);
  if (!(multiplier > 1 && Number.isFinite(multiplier))) {
    throw refuse(name, "multiplier", multiplier, "a finite number above 1");
  }
  return {
    targetSparsity: 1 - topK / experts,
    multiplier,
    update: (state, load, tokens) => {
      const coefficient = (state as { sparsityCoefficient?: Tensor }).sparsityCoefficient;
      if (coefficient === undefined) {
        throw refuse(name, "state.sparsityCoefficient", undefined, "the state of a reluRouter");
      }
      if (load.size !== experts)
        throw refuse(name, "load.size", load.size, `${experts}, the experts`);
      if (typeof tokens === "number" && !(Number.isFinite(tokens) && tokens >= 0)) {
        throw refuse(name, "tokens", tokens, "a finite number from 0");
      }
      const sparsityCoefficient = coefficient.backend.scope(() => {
        const dtype = floatOf(coefficient);
        // (1 − k/E) − S has the sign of (active − k · tokens): counts, so the comparison is exact.
        const active = cast(sum(load), { dtype });
        const wanted =
          typeof tokens === "number"
            ? tokens * topK
            : mul(cast(tokens.reshape([]), { dtype }), topK);
        const direction = sign(sub(active, wanted));
        // α^d = 1 + d · ((α − 1/α)/2 + d · ((α + 1/α)/2 − 1)) for d of −1, 0 and 1.
        const odd = (multiplier - 1 / multiplier) / 2;
        const even = (multiplier + 1 / multiplier) / 2 - 1;
        const factor = add(mul(direction, add(mul(direction, even), odd)), 1);
        return mul(coefficient, factor);
      });
      return { ...state, sparsityCoefficient };
    },
  };
}

function carriedCoefficient({ carry }: TokenChoice, like: Tensor): Tensor {
  const coefficient = carry?.["sparsityCoefficient"];
  if (coefficient === undefined) {
    throw refuse(
      "reluSparsity",
      "routing.carry.sparsityCoefficient",
      undefined,
      "what the routing of a reluRouter carries",
    );
  }
  const still = stopGradient(coefficient).reshape([]);
  return still.dtype === like.dtype ? still : cast(still, { dtype: like.dtype });
}

function requireCount(name: string, key: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw refuse(name, key, value, "a whole number from 1");
}

function refuse(name: string, key: string, value: unknown, wanted: string): ConfigError {
  return new ConfigError(`${name}: ${key} is ${String(value)}, but must be ${wanted}`, key, value);
}
