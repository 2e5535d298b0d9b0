import type { Forward } from "../forward.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import type { Initialized, InitOptions, Module } from "../module.ts";
import { type RandomKey, splitKey } from "../random.ts";
import { formatShape } from "../shape.ts";
import { type Tensor, isTensor } from "../tensor.ts";
import type { ExpertBank, NoState, Router, RoutingLoss, SharedBranch } from "./bank.ts";
import { mergeShared, mixExperts } from "./mix.ts";
import { loadOf } from "./plan.ts";
import type { RouteContext, Routing } from "./routing.ts";

/** Parameters of an MoE layer. */
export interface MoeParams<RouterParams, ExpertParams, SharedParams = undefined> {
  readonly router: RouterParams;
  readonly experts: ExpertParams;
  readonly shared: SharedParams;
}

/** State of an MoE layer: what controllers change between steps. */
export interface MoeState<RouterState> {
  readonly router: RouterState;
}

/** What one call of a layer may be given beside its input. */
export interface MoeContext extends RouteContext {
  /** `[…, H]` what the router sees, where it is not the experts' input (Gemma 4). */
  readonly routerInput?: Tensor | undefined;
}

/** The value of one loss of a layer. */
export interface LossValue {
  readonly name: string;
  /** Scalar, without its coefficient. */
  readonly value: Tensor;
  readonly coefficient: number;
}

/** What a layer gives. */
export interface MoeOutput {
  /** `[…, O]`. */
  readonly output: Tensor;
  readonly routing: Routing;
  readonly losses: readonly LossValue[];
  /** `[E]` i32: assignments per expert before dropping, padding left out. */
  readonly load: Tensor;
}

/** The parts of a layer. */
export interface MoeOptions<RouterParams, RouterState, ExpertParams, SharedParams = undefined> {
  readonly router: Router<RouterParams, RouterState>;
  readonly experts: ExpertBank<ExpertParams>;
  readonly shared?: SharedBranch<SharedParams> | undefined;
  /** Losses of this layer's own routing. A loss over several layers belongs to the model. */
  readonly losses?: readonly RoutingLoss[] | undefined;
}

/** A Mixture-of-Experts layer: `route`, then `mix`. `forward` is both, pausing in between. */
export interface MoeLayer<
  RouterParams,
  RouterState,
  ExpertParams,
  SharedParams = undefined,
> extends Module<
  MoeParams<RouterParams, ExpertParams, SharedParams>,
  MoeState<RouterState>,
  [x: Tensor, context?: MoeContext],
  MoeOutput
> {
  /** `x […, H]` → who takes which token. */
  route(
    params: MoeParams<RouterParams, ExpertParams, SharedParams>,
    state: MoeState<RouterState>,
    x: Tensor,
    context?: MoeContext,
  ): Routing;
  /** Runs the experts as routed, and the shared branch: `[…, O]`. */
  mix(
    params: MoeParams<RouterParams, ExpertParams, SharedParams>,
    state: MoeState<RouterState>,
    x: Tensor,
    routing: Routing,
  ): Tensor;
}

/**
 * Composes a layer of a router, a bank of experts, an optional shared branch and losses.
 * @throws ConfigError where the parts do not fit together
 */
export function moe<RouterParams, RouterState, ExpertParams, SharedParams = undefined>(
  options: MoeOptions<RouterParams, RouterState, ExpertParams, SharedParams>,
): MoeLayer<RouterParams, RouterState, ExpertParams, SharedParams> {
  const { router, experts, shared, losses = [] } = options;
  checkParts(router, experts);
  type Params = MoeParams<RouterParams, ExpertParams, SharedParams>;
  type State = MoeState<RouterState>;
  const route = (params: Params, state: State, x: Tensor, context: MoeContext = {}): Routing => {
    const { routerInput, ...routing } = context;
    return router.route(
      params.router,
      state.router,
      flattenTokens(routerInput ?? x, router.inputSize),
      routing,
    );
  };
  const finish = (params: Params, x: Tensor, routed: Tensor): Tensor => {
    const flat = flattenTokens(x, experts.inputSize);
    const merged = shared ? mergeShared(shared, params.shared, flat, routed) : routed;
    return merged.reshape([...x.shape.slice(0, -1), merged.shape.at(-1) ?? 0]);
  };
  const mix = (params: Params, _state: State, x: Tensor, routing: Routing): Tensor => {
    const flat = flattenTokens(x, experts.inputSize);
    return finish(params, x, mixExperts(experts, params.experts, flat, routing));
  };
  return {
    init: (key, init) => initialize(options, key, init),
    route,
    mix,
    *forward(params, state, x, context = {}): Forward<MoeOutput> {
      const routing = route(params, state, x, context);
      const flat = flattenTokens(x, experts.inputSize);
      const remote = yield {
        kind: "routing",
        routing,
        x: flat,
        ...(experts.prepare && {
          prepare: async () => experts.prepare?.(params.experts, routing),
        }),
        ...(experts.remote && {
          remote: async () => experts.remote?.(params.experts, flat, routing) as Promise<Tensor>,
        }),
      };
      const output = isTensor(remote) ? finish(params, x, remote) : mix(params, state, x, routing);
      return {
        output,
        routing,
        losses: losses.map(({ name, coefficient, evaluate }) => ({
          name,
          coefficient,
          value: evaluate([routing]),
        })),
        load: loadOf(routing),
      };
    },
  };
}

function initialize<RouterParams, RouterState, ExpertParams, SharedParams>(
  { router, experts, shared }: MoeOptions<RouterParams, RouterState, ExpertParams, SharedParams>,
  key: RandomKey,
  options: InitOptions,
): Initialized<MoeParams<RouterParams, ExpertParams, SharedParams>, MoeState<RouterState>> {
  const [routerKey = key, expertKey = key, sharedKey = key] = splitKey(key, 3);
  const routed = router.init(routerKey, options);
  const bank: Initialized<ExpertParams, NoState> = experts.init(expertKey, options);
  return {
    params: {
      router: routed.params,
      experts: bank.params,
      shared: shared?.init(sharedKey, options).params as SharedParams,
    },
    state: { router: routed.state },
  };
}

function checkParts(
  router: { readonly experts: number },
  experts: { readonly experts: number },
): void {
  if (router.experts === experts.experts) return;
  throw new ConfigError(
    `the router routes to ${router.experts} experts, but the bank has ${experts.experts}`,
    "experts",
    experts.experts,
  );
}

/** `x […, width]` → `[T, width]`. @throws ConfigError for what is no tensor, ShapeError */
export function flattenTokens(x: Tensor, width: number): Tensor {
  if (!isTensor(x)) {
    throw new ConfigError(
      "an MoE layer needs a tensor; make one with backend.tensor(data, { shape })",
      "x",
      x,
    );
  }
  if (x.shape.at(-1) !== width) {
    throw new ShapeError(`x is ${formatShape(x.shape)}, but its last dimension must be ${width}`, {
      shapes: [x.shape],
    });
  }
  return x.rank === 2 ? x : x.reshape([x.size / Math.max(width, 1), width]);
}
