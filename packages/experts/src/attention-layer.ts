import {
  ConfigError,
  type Forward,
  type Initialized,
  type InitOptions,
  type Module,
  type MoeOutput,
  type MoeState,
  type RandomKey,
  type RouteContext,
  type Router,
  type Routing,
  type RoutingLoss,
  type Tensor,
  loadOf,
  splitKey,
} from "@moiety/core";
import { type AttentionExperts, requireSequences } from "./attention.ts";
import type {
  AttentionExpertsContext,
  AttentionExpertsParams,
  KeyValues,
} from "./attention-types.ts";

/** Parameters of an attention layer of experts. */
export interface MoaParams<RouterParams> {
  readonly router: RouterParams;
  readonly experts: AttentionExpertsParams;
}

/** What one call may be given beside its input. */
export interface MoaContext extends RouteContext {
  readonly attention?: AttentionExpertsContext | undefined;
}

/** What a layer gives. */
export interface MoaOutput extends MoeOutput {
  readonly cache?: KeyValues | undefined;
}

/** The parts of a layer. */
export interface MoaOptions<RouterParams, RouterState> {
  readonly router: Router<RouterParams, RouterState>;
  readonly experts: AttentionExperts;
  /** Losses of this layer's own routing. */
  readonly losses?: readonly RoutingLoss[] | undefined;
}

/** A layer of attention experts: `x [B, T, H]` → `[B, T, H]`. */
export interface MoaLayer<RouterParams, RouterState> extends Module<
  MoaParams<RouterParams>,
  MoeState<RouterState>,
  [x: Tensor, context?: MoaContext],
  MoaOutput
> {
  /** `x [B, T, H]` → who takes which token. */
  route(
    params: MoaParams<RouterParams>,
    state: MoeState<RouterState>,
    x: Tensor,
    context?: MoaContext,
  ): Routing;
}

/**
 * A router and attention experts (MoA): what `moe` is for feed-forward experts. Sequences are those
 * of the batch unless the context has others. The context's `mask` hides padding from queries as well,
 * unless there is a cache or a `keyMask`.
 * @throws ConfigError where the parts do not fit together
 */
export function moa<RouterParams, RouterState>(
  options: MoaOptions<RouterParams, RouterState>,
): MoaLayer<RouterParams, RouterState> {
  const { router, experts, losses = [] } = options;
  checkParts(router, experts);
  type Params = MoaParams<RouterParams>;
  type State = MoeState<RouterState>;
  const route = (params: Params, state: State, x: Tensor, context: MoaContext = {}): Routing => {
    const { attention: _, ...routing } = context;
    const [batch = 0, tokens = 0, width = 0] = requireSequences(x, experts.inputSize);
    const sequences = Array.from({ length: batch + 1 }, (_value, index) => index * tokens);
    const flat = x.reshape([batch * tokens, width]);
    return router.route(params.router, state.router, flat, { sequences, ...routing });
  };
  return {
    init: (key, init) => initialize(options, key, init),
    route,
    *forward(params, state, x, context = {}): Forward<MoaOutput> {
      const routing = route(params, state, x, context);
      const [batch = 0, tokens = 0, width = 0] = x.shape;
      yield { kind: "routing", routing, x: x.reshape([batch * tokens, width]) };
      const { attention = {}, mask } = context;
      // With a cache there are more keys than the mask knows of.
      const keyMask = attention.cache ? undefined : mask?.reshape([batch, tokens]);
      const result = experts.attend(params.experts, x, routing, { keyMask, ...attention });
      return {
        ...result,
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

function initialize<RouterParams, RouterState>(
  { router, experts }: MoaOptions<RouterParams, RouterState>,
  key: RandomKey,
  options: InitOptions,
): Initialized<MoaParams<RouterParams>, MoeState<RouterState>> {
  const [routerKey = key, expertKey = key] = splitKey(key, 2);
  const routed = router.init(routerKey, options);
  const { params } = experts.init(expertKey, options);
  return { params: { router: routed.params, experts: params }, state: { router: routed.state } };
}

function checkParts(
  router: { readonly experts: number; readonly inputSize: number },
  experts: AttentionExperts,
): void {
  for (const key of ["experts", "inputSize"] as const) {
    if (router[key] === experts[key]) continue;
    throw new ConfigError(
      `the router's ${key} is ${router[key]}, but that of the attention experts ${experts[key]}`,
      key,
      router[key],
    );
  }
}
