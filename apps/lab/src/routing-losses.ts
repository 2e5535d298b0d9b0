import type { RoutingLoss, Tensor } from "@moiety/core";
import { reinforceLoss, reluSparsity } from "@moiety/losses";
import { balanceOf } from "./balances.ts";
import type { ModelSettings } from "./presets.ts";
import { ownRouter } from "./routers.ts";
import type { Settings } from "./settings.ts";

/**
 * Makes the losses of one step. `reward [T]` is minus the cross-entropy of each token's prediction.
 */
export type RoutingLosses = (reward: Tensor) => readonly RoutingLoss[];

/** What some routers learn by, whatever balances them. */
const ownLosses: Readonly<Record<string, (model: ModelSettings, reward: Tensor) => RoutingLoss>> = {
  // Its weight is the factor that a controller moves.
  reluRouter: ({ numExpertsPerTok: topK }) => reluSparsity({ coefficient: 1, topK }),
  reinforceRouter: ({ routerAuxLossCoef: coefficient }, reward) =>
    reinforceLoss({ coefficient, reward }),
};

/** Losses of the sparse model's routings, beside those of its own configuration. */
export function routingLosses(settings: Settings): RoutingLosses {
  const chosen = isOwnBalance(settings) ? [] : balanceLosses(settings);
  const own = ownLosses[settings.router];
  return (reward) => (own === undefined ? chosen : [...chosen, own(settings.model, reward)]);
}

/** The losses that `--balance` asks for. */
export function balanceLosses({
  balance,
  model,
}: Pick<Settings, "balance" | "model">): readonly RoutingLoss[] {
  return balanceOf(balance).losses?.(model.routerAuxLossCoef) ?? [];
}

/** Whether OLMoE's own configuration says router and balance. */
export function isOwnBalance({ router, balance }: Pick<Settings, "router" | "balance">): boolean {
  return balance === "switch" && ownRouter(router) !== undefined;
}
