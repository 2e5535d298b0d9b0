import { ConfigError } from "@moiety/core";
import { type RouterEntry, routerCatalogue } from "@moiety/routers";

/** What a router of the catalogue has beyond it in this experiment. */
interface RouterTraits {
  /** Whether OLMoE's own configuration can say it, and how. */
  readonly normTopkProb?: boolean;
  /** The balance that it is trained with unless another is asked for; `switch` unless given. */
  readonly balance?: "bias" | "none";
  /** Why its load needs no balance, and none does anything for it. */
  readonly even?: string;
  /** What of it is missing here. */
  readonly without?: string;
}

const byConstruction = "training assigns tokens so that every expert gets as many";
const fixed = "its choices are fixed, so nothing can move its load";

const traits: Readonly<Record<string, RouterTraits>> = {
  mixtralRouter: { normTopkProb: true },
  qwenMoeRouter: { normTopkProb: false },
  deepseekV3Router: { balance: "bias" },
  inklingRouter: { balance: "bias" },
  reluRouter: { balance: "none" },
  forcedBalanceRouter: { even: fixed },
  deepseekV4HashRouter: { even: fixed },
  sinkhornRouter: { even: byConstruction },
  baseRouter: { even: byConstruction, without: "here without its blend with the layer's input" },
  expertChoiceRouter: { even: byConstruction },
};

/** The router of the third model. */
export const hashTwin = "hashRouter";

/** Names that `--router` takes; some of them are refused, with the reason. */
export const routers: Readonly<Record<string, RouterEntry>> = /*#__PURE__*/ Object.fromEntries(
  /*#__PURE__*/ routerCatalogue.map((entry) => [entry.name, entry]),
);

/** A router by its name. @throws ConfigError */
export function routerOf(name: string): RouterEntry {
  const entry = Object.hasOwn(routers, name) ? routers[name] : undefined;
  if (entry !== undefined) return entry;
  throw new ConfigError(`the router ${name} is not in the catalogue`, "router", name);
}

/** Why a router does not train here; undefined where it does. */
export function routerRefusal({ name, causal, needs = [] }: RouterEntry): string | undefined {
  if (causal.rule === "none") {
    return `it has no rule for a causal model, since ${causal.reason}`;
  }
  if (needs.includes("specialExperts")) {
    return "some of its experts are no networks, and a layer of an OLMoE has networks alone";
  }
  if (name === hashTwin) return "it routes the third model of every run already";
  return undefined;
}

/**
 * Whether an OLMoE's weights are renormalised, where its own configuration can say what the router
 * does; undefined where it cannot.
 */
export function ownRouter(name: string): boolean | undefined {
  return traits[name]?.normTopkProb;
}

/** The balance that a router is trained with unless another is asked for. */
export function usualBalance(name: string): "switch" | "bias" | "none" {
  const { balance, even } = traits[name] ?? {};
  return balance ?? (even === undefined ? "switch" : "none");
}

/** Why no balance does anything for a router; undefined where one may. */
export function evenReason(name: string): string | undefined {
  return traits[name]?.even;
}

/** What a router does, in one line. */
export function routerSummary({ name, summary }: Pick<RouterEntry, "name" | "summary">): string {
  const without = traits[name]?.without;
  return without === undefined ? summary : `${summary}; ${without}`;
}

/** How a router is evaluated in a causal model, in words. */
export function causalRule({ causal }: Pick<RouterEntry, "causal">): string {
  switch (causal.rule) {
    case "perToken":
      return "each token by itself";
    case "greedy":
      return "greedily: each token takes its own best experts";
    case "threshold":
      return "by thresholds that training learned: each token by itself";
    case "position":
      return "by position: a token sees those before it alone";
    case "none":
      return "not at all";
  }
}
