import type { Initialized, InitOptions } from "../module.ts";
import type { RandomKey } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import type { FusedFfn } from "./ffn.ts";
import type { Rows } from "./plan.ts";
import type { RouteContext, Routing, TokenChoice } from "./routing.ts";

/** No state. */
export type NoState = Readonly<Record<never, never>>;

/** A router: it answers which experts each token goes to, and with what weights. */
export interface Router<Params, State = NoState> {
  /** Number of experts E that it routes to. */
  readonly experts: number;
  /** Width H of its input. */
  readonly inputSize: number;
  /** Whether a token's routing depends on other tokens, and so leaks the future in a causal model. */
  readonly acrossTokens: boolean;
  /** Draws parameters on the host. */
  init(key: RandomKey, options: InitOptions): Initialized<Params, State>;
  /** `x [T, H]` → routing. Keeps nothing; `state` is read only. */
  route(params: Params, state: State, x: Tensor, context?: RouteContext): Routing;
}

/** A bank of E experts. It sees rows, never routers, losses or what tokens mean. */
export interface ExpertBank<Params> {
  readonly experts: number;
  /** Width of its rows. */
  readonly inputSize: number;
  /** Width of what it returns. */
  readonly outputSize: number;
  /** Draws parameters on the host. */
  init(key: RandomKey, options: InitOptions): Initialized<Params, NoState>;
  /** Rows grouped by expert → `[A, O]`. Rows at and after `offsets[E]` may hold anything. */
  forward(params: Params, rows: Rows): Tensor;
  /** Of banks whose maths is an FFN: lets the layer issue one fused op. */
  ffn?(params: Params): FusedFfn;
  /** Of banks that have a way of their own from tokens to combined outputs: `x [T, H]` → `[T, O]`. */
  mix?(params: Params, x: Tensor, routing: TokenChoice): Tensor;
  /** Loads what a routing needs before its rows are run (cached experts). */
  prepare?(params: Params, routing: Routing): Promise<void>;
  /** Computes the combined output `[T, O]` elsewhere. */
  remote?(params: Params, x: Tensor, routing: Routing): Promise<Tensor>;
}

/** How a shared branch joins the routed output y: y + s, (y + s)/2, y + σ(g)·s, or y·c₀ + s·c₁ with c = softmax(g). */
export type Merge = "add" | "average" | "gate" | "softmax2";

/** A branch that every token takes beside its chosen experts. */
export interface SharedBranch<Params> {
  readonly merge: Merge;
  /** Draws parameters on the host. */
  init(key: RandomKey, options: InitOptions): Initialized<Params, NoState>;
  /** `[T, H]` → `[T, O]`. */
  forward(params: Params, x: Tensor): Tensor;
  /** `[T, 1]` for `gate`, `[T, 2]` for `softmax2`. */
  gate?(params: Params, x: Tensor): Tensor;
}

/** A balance loss: it sees routings only. */
export interface RoutingLoss {
  readonly name: string;
  /** Factor in the total. */
  readonly coefficient: number;
  /** The loss's value without its coefficient, a scalar, from the routings of one or more layers. */
  evaluate(routings: readonly Routing[]): Tensor;
}
