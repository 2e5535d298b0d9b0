import {
  type RandomKey,
  type RouteContext,
  type RouteSpec,
  type RouteStages,
  type Shape,
  type Tensor,
  type TokenChoice,
  atLeast,
  checkRouteContext,
  checkRouteSpec,
  constantParameter,
  flattenTokens,
  routeTokens,
  squashLogits,
  stopGradient,
} from "@moiety/core";
import { type Gate, type ShapedRouter, routerParameter } from "./gate.ts";
import { checkKey, drawKeys, requireKey } from "./keys.ts";
import { type RouterNoise, jitterInput } from "./noise.ts";
import { refuseOption, requireWhole } from "./option.ts";

/** Beside the gate's parameters, with learned noise: its weight. */
export interface NoiseParams {
  /** `[E, H]`. */
  readonly noise?: Tensor | undefined;
}

/** State of a staged router. */
export interface StagedRouterState {
  /** `[E]`, where the spec says `bias`: added for selection only, changed by a controller. */
  readonly selectionBias?: Tensor | undefined;
  /** What own stages keep, by the names of the option `constants`. */
  readonly [name: string]: Tensor | undefined;
}

/** What own stages are made for: one call. */
export interface StageCall {
  readonly context: RouteContext;
  readonly training: boolean;
  /** Key for the draws of own stages; `undefined` where the call has none. */
  readonly key: RandomKey | undefined;
  readonly state: StagedRouterState;
}

/** What a call may bring beside the context of every router, to play back an earlier run. */
export interface ReplayContext extends RouteContext {
  /**
   * `[T, k]` i32: what found a place in that run, and `E` elsewhere. It stands in the place of the
   * capacity stage, as `selected` does in that of the choice.
   */
  readonly placed?: Tensor | undefined;
}

/** A leaf of the state, and what it starts from. */
export interface ConstantState {
  readonly shape: Shape;
  readonly value: number;
}

/** What follows a gate. */
export interface StageOptions {
  /** The stages from logits to weights and capacity. */
  readonly spec: RouteSpec;
  /**
   * ε: in training the router's input (not the experts') is multiplied by numbers drawn evenly
   * from [1 − ε, 1 + ε) (Fedus, Zoph & Shazeer 2021). Needs `context.key`.
   */
  readonly jitter?: number | undefined;
  /** Added to the logits in training, after temperature and softcap. Needs `context.key`. */
  readonly noise?: RouterNoise | undefined;
  /** Functions of tensors in the place of built-in stages, or what makes them for a call. */
  readonly stages?: RouteStages | ((call: StageCall) => RouteStages) | undefined;
  /** Leaves that own stages find in `call.state` beside the selection bias. */
  readonly constants?: Readonly<Record<string, ConstantState>> | undefined;
  /**
   * Whether own stages let tokens look at each other. A capacity always does, so this can only add
   * to it.
   */
  readonly acrossTokens?: boolean | undefined;
}

/** A router as data behind a gate. */
export interface StagedRouterOptions<Params> extends StageOptions {
  readonly gate: Gate<Params>;
}

/** A gate, then the stages of a spec. */
export interface StagedRouter<Params> extends ShapedRouter<
  Params & NoiseParams,
  StagedRouterState
> {
  /** The stages that it was made of. */
  readonly spec: RouteSpec;
  /** `x […, H]` → who takes which token. @throws ConfigError, ShapeError, DTypeError */
  route(
    params: Params & NoiseParams,
    state: StagedRouterState,
    x: Tensor,
    context?: RouteContext,
  ): TokenChoice;
}

/**
 * Makes a router of a gate and data: `gate → (temperature, softcap, noise) → score → select →
 * weight → capacity`. Logits and selection are float32 at least, whatever `x` is; f64 stays f64.
 * Noise and jitter act where `context.training` is true, and then `logits` of the routing are the
 * noisy ones. The weight of learned noise and the selection bias start from 0.
 * @throws ConfigError where the options make no sense
 */
export function stagedRouter<Params extends object>(
  options: StagedRouterOptions<Params>,
): StagedRouter<Params> {
  checkOptions(options);
  const { gate, spec, noise, constants, acrossTokens = false } = options;
  const { experts, bias, capacity } = spec;
  const { inputSize } = gate;
  const noiseShape = noise?.learned ? [experts, inputSize] : undefined;
  const states = { ...(bias && { selectionBias: { shape: [experts], value: 0 } }), ...constants };
  return {
    experts,
    inputSize,
    acrossTokens: capacity !== undefined || acrossTokens,
    spec,
    shapes: {
      ...gate.shapes,
      ...(noiseShape && { noise: noiseShape }),
    } as StagedRouter<Params>["shapes"],
    stateShapes: mapStates(states, ({ shape }) => shape),
    init(key, init) {
      checkKey("key", key);
      // A spread, so that a missing argument meets the error that names the backend.
      const constant = ({ shape, value }: ConstantState): Tensor =>
        constantParameter(value, shape, { ...init });
      return {
        params: {
          ...gate.init(key, { ...init }),
          ...(noiseShape && { noise: constant({ shape: noiseShape, value: 0 }) }),
        },
        state: mapStates(states, constant),
      };
    },
    route: (params, state, x, context = {}) =>
      route({ ...options, noiseShape }, params, state, x, context),
  };
}

/** Maps each leaf of a state. */
function mapStates<T>(
  states: Readonly<Record<string, ConstantState>>,
  of: (leaf: ConstantState) => T,
): Record<string, T> {
  return Object.fromEntries(Object.entries(states).map(([name, leaf]) => [name, of(leaf)]));
}

function route<Params extends object>(
  {
    gate,
    spec,
    jitter,
    noise,
    noiseShape,
    stages: given,
  }: StagedRouterOptions<Params> & { readonly noiseShape: Shape | undefined },
  params: Params & NoiseParams,
  state: StagedRouterState,
  x: Tensor,
  context: RouteContext,
): TokenChoice {
  const flat = flattenTokens(x, gate.inputSize);
  checkRouteContext(context, flat.shape[0] ?? 0);
  const training = context.training ?? false;
  const keys = drawKeys(context.key);
  const weight = routerParameter<NoiseParams>(params, "noise", noiseShape);
  const wide = atLeast(flat, "f32");
  const input =
    training && jitter ? jitterInput(wide, jitter, requireKey(keys, "jitter").jitter) : wide;
  const { logits, carry } = gate.forward(params, input, context);
  const own =
    typeof given === "function" ? given({ context, training, key: keys?.stages, state }) : given;
  const { placed } = context as ReplayContext;
  const stages = placed ? { ...own, capacity: () => stopGradient(placed) } : own;
  const rest = { bias: state.selectionBias, carry };
  const inner = keys ? { ...context, key: keys.capacity } : context;
  if (!training || !noise) return routeTokens(spec, { logits, ...rest }, inner, stages);
  const clean = squashLogits(logits, spec);
  const added = noise.add(clean, { x: input, weight, context, keys });
  // Temperature and softcap come before the noise, and must not come twice.
  const later = { ...spec, temperature: undefined, softcap: undefined };
  return routeTokens(later, { logits: added.noisy, noise: added.noise, ...rest }, inner, stages);
}

function checkOptions<Params>({ gate, spec, jitter = 0 }: StagedRouterOptions<Params>): void {
  requireWhole("inputSize", gate.inputSize);
  if (!(jitter >= 0 && jitter < 1)) throw refuseOption("jitter", jitter, "from 0 to below 1");
  checkRouteSpec(spec);
  if (gate.experts === spec.experts) return;
  throw refuseOption("gate.experts", gate.experts, `${spec.experts}, as the spec says`);
}
