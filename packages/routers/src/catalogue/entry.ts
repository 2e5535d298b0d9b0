import type { Router } from "@moiety/core";

/** A router under one type: its leaves are data. */
export interface CatalogueRouter extends Router<unknown, unknown> {
  readonly shapes: unknown;
  readonly stateShapes: unknown;
}

/** The sizes that a router of the catalogue is made with; the rest are its defaults. */
export interface RouterCatalogueOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E, with whatever special experts it has. */
  readonly experts: number;
  /** k; routers with a `topK` of their own have that, adaptive ones let at most k run. */
  readonly topK: number;
  /** Number of token ids V, where a router goes by them. */
  readonly vocabSize?: number | undefined;
}

/**
 * What a router asks for beside its input: of the context (`tokenIds`, `key` in training), of the
 * bank (`specialExperts`: the last of its experts are no networks; `slots`), or between steps
 * (`controller`, `reward`).
 */
export type RouterNeed = "controller" | "key" | "reward" | "slots" | "specialExperts" | "tokenIds";

/**
 * How a router is evaluated in a causal model. `perToken`: as it is, no token sees another outside
 * training. `greedy`: each token takes its own best, nothing is dropped or assigned. `threshold`:
 * each token by learned thresholds. `position`: a token depends on those before it alone. `none`:
 * not at all, for the reason given.
 */
export type CausalRule =
  | { readonly rule: "perToken" | "greedy" | "threshold" | "position" }
  | { readonly rule: "none"; readonly reason: string };

/** A router of this package. */
export interface RouterEntry {
  /** The name of the function that makes it. */
  readonly name: string;
  /** One line. */
  readonly summary: string;
  readonly formula: string;
  /** Paper or file. */
  readonly source: string;
  /** Its k, where it has no other. */
  readonly topK?: 1 | 2 | undefined;
  readonly needs?: readonly RouterNeed[] | undefined;
  /** Whether tokens look at each other in training, and so may leak the future. */
  readonly acrossTokens: boolean;
  readonly causal: CausalRule;
  /** Makes it. @throws ConfigError */
  make(options: RouterCatalogueOptions): CatalogueRouter;
  /**
   * Makes the router that evaluates by the causal rule, on the same parameters and state; absent
   * where `make` gives it.
   * @throws ConfigError
   */
  makeCausal?(options: RouterCatalogueOptions): CatalogueRouter;
}
