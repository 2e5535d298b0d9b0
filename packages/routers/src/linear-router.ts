import {
  ConfigError,
  type InitOptions,
  type Initialized,
  type RandomKey,
  type RouteContext,
  type RouteSpec,
  type RouteStages,
  type Router,
  ShapeError,
  type Tensor,
  type TokenChoice,
  add,
  atLeast,
  checkRouteContext,
  checkRouteSpec,
  constantParameter,
  formatShape,
  isTensor,
  matmul,
  normalParameter,
  routeTokens,
  sameShape,
  splitKey,
  squashLogits,
} from "@moiety/core";
import {
  type DrawKeys,
  type RouterNoise,
  addNoise,
  checkNoise,
  jitterInput,
  requireKeys,
} from "./noise.ts";

/** Parameters of a {@link LinearRouter}. */
export interface LinearRouterParams {
  /** `[E, H]`. */
  readonly weight: Tensor;
  /** `[E]`, with `linearBias`. */
  readonly bias?: Tensor | undefined;
  /** `[E, H]`, with learned noise. */
  readonly noise?: Tensor | undefined;
}

/** State of a {@link LinearRouter}. */
export interface LinearRouterState {
  /** `[E]`, where the spec says `bias`: added for selection only, changed by a controller. */
  readonly selectionBias?: Tensor | undefined;
}

/** A router as data. */
export interface LinearRouterOptions {
  /** Width H of the input. */
  readonly inputSize: number;
  /** The stages from logits to weights and capacity. */
  readonly spec: RouteSpec;
  /** Whether the logits have a bias that is learned. False unless given. */
  readonly linearBias?: boolean | undefined;
  /**
   * ε: in training the router's input (not the experts') is multiplied by numbers drawn evenly
   * from [1 − ε, 1 + ε) (Fedus, Zoph & Shazeer 2021). Needs `context.key`.
   */
  readonly jitter?: number | undefined;
  /** Added to the logits in training, after temperature and softcap. Needs `context.key`. */
  readonly noise?: RouterNoise | undefined;
  /** Functions of tensors in the place of built-in stages. */
  readonly stages?: RouteStages | undefined;
  /**
   * Whether own stages let tokens look at each other. A capacity always does, so this can only add
   * to it.
   */
  readonly acrossTokens?: boolean | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** A router with one linear layer: `logits = x · weightᵀ (+ bias)`, then the stages of its spec. */
export interface LinearRouter extends Router<LinearRouterParams, LinearRouterState> {
  /** The stages that it was made of. */
  readonly spec: RouteSpec;
  /** `x [T, H]` → who takes which token. @throws ConfigError, ShapeError, DTypeError */
  route(
    params: LinearRouterParams,
    state: LinearRouterState,
    x: Tensor,
    context?: RouteContext,
  ): TokenChoice;
}

/**
 * Makes a router of data: `logits → (temperature, softcap, noise) → score → select → weight →
 * capacity`. Logits and selection are float32 at least, whatever `x` is; f64 stays f64. Noise and
 * jitter act where `context.training` is true, and then `logits` of the routing are the noisy ones.
 * The weight starts from normal(0, `initializerRange`), the weight of learned noise and both biases
 * from 0.
 * @throws ConfigError where the options make no sense
 *
 * @example
 * const router = linearRouter({ inputSize: 64, spec: { experts: 8, topK: 2, score: "softmax" } });
 */
export function linearRouter(options: LinearRouterOptions): LinearRouter {
  checkOptions(options);
  const { inputSize, spec } = options;
  return {
    experts: spec.experts,
    inputSize,
    acrossTokens: spec.capacity !== undefined || (options.acrossTokens ?? false),
    spec,
    init: (key, init) => initialize(options, key, init),
    route: (params, state, x, context = {}) => route(options, params, state, x, context),
  };
}

function route(
  { inputSize, spec, jitter = 0, noise, linearBias = false, stages }: LinearRouterOptions,
  params: LinearRouterParams,
  state: LinearRouterState,
  x: Tensor,
  context: RouteContext,
): TokenChoice {
  if (!isTensor(x) || x.rank !== 2 || x.shape[1] !== inputSize) {
    const given = isTensor(x) ? formatShape(x.shape) : String(x);
    throw new ShapeError(`the router's input is ${given}, but must be a tensor [T, ${inputSize}]`, {
      shapes: isTensor(x) ? [x.shape] : [],
    });
  }
  checkRouteContext(context, x.shape[0] ?? 0);
  const training = context.training ?? false;
  const keys = drawKeys(context.key);
  const parameter = (key: keyof LinearRouterParams, wanted: boolean): Tensor | undefined =>
    parameterOf(params, key, wanted, key === "bias" ? [spec.experts] : [spec.experts, inputSize]);
  const weight = parameter("weight", true) as Tensor;
  const bias = parameter("bias", linearBias);
  const noiseWeight = parameter("noise", noise?.kind === "learned");
  const wide = atLeast(x, "f32");
  const input =
    training && jitter > 0 ? jitterInput(wide, jitter, requireKeys(keys, "jitter").jitter) : wide;
  const product = matmul(input, weight, { transposeB: true });
  const logits = bias ? add(product, bias) : product;
  const selection = { bias: state.selectionBias };
  const inner = keys ? { ...context, key: keys.capacity } : context;
  if (!training || !noise) return routeTokens(spec, { logits, ...selection }, inner, stages);
  const clean = squashLogits(logits, spec);
  const added = addNoise(clean, noise, input, noiseWeight, context, keys);
  // Temperature and softcap come before the noise, and must not come twice.
  const rest = { ...spec, temperature: undefined, softcap: undefined };
  return routeTokens(
    rest,
    { logits: added.noisy, noise: added.noise, ...selection },
    inner,
    stages,
  );
}

function initialize(
  { inputSize, spec, linearBias, noise, initializerRange = 0.02 }: LinearRouterOptions,
  key: RandomKey,
  options: InitOptions,
): Initialized<LinearRouterParams, LinearRouterState> {
  checkKey("key", key);
  // A spread, so that a missing argument meets the error that names the backend.
  const init = { ...options };
  const shape = [spec.experts, inputSize];
  const weight =
    initializerRange === 0
      ? constantParameter(0, shape, init)
      : normalParameter(key, shape, initializerRange, init);
  return {
    params: {
      weight,
      ...(linearBias && { bias: constantParameter(0, [spec.experts], init) }),
      ...(noise?.kind === "learned" && { noise: constantParameter(0, shape, init) }),
    },
    state: spec.bias ? { selectionBias: constantParameter(0, [spec.experts], init) } : {},
  };
}

/** A parameter as float32 at least; `undefined` where the options do not have it. */
function parameterOf(
  params: LinearRouterParams,
  key: keyof LinearRouterParams,
  wanted: boolean,
  shape: readonly number[],
): Tensor | undefined {
  const tensor = params[key];
  if (wanted !== (tensor !== undefined)) {
    throw new ConfigError(
      wanted
        ? `the router has no params.${key}, which its options ask for; pass what init made`
        : `the router was given params.${key}, which its options do not ask for`,
      `params.${key}`,
      tensor,
    );
  }
  if (tensor === undefined) return undefined;
  if (sameShape(tensor.shape, shape)) return atLeast(tensor, "f32");
  throw new ShapeError(
    `params.${key} is ${formatShape(tensor.shape)}, but must be ${formatShape(shape)}`,
    { shapes: [tensor.shape] },
  );
}

function drawKeys(key: RandomKey | undefined): DrawKeys | undefined {
  if (key === undefined) return undefined;
  checkKey("context.key", key);
  const [jitter = key, noise = key, capacity = key] = splitKey(key, 3);
  return { jitter, noise, capacity };
}

function checkKey(name: string, key: RandomKey): void {
  const valid =
    Array.isArray(key) &&
    key.length === 2 &&
    key.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32);
  if (valid) return;
  throw new ConfigError(`${name} must be two u32; make it with randomKey(seed)`, name, key);
}

function checkOptions(options: LinearRouterOptions): void {
  const { inputSize, spec, jitter = 0, noise, initializerRange = 0.02 } = options;
  const refuse = (key: string, value: unknown, wanted: string): never => {
    throw new ConfigError(`router: ${key} is ${String(value)}, but must be ${wanted}`, key, value);
  };
  if (!Number.isSafeInteger(inputSize) || inputSize < 1) {
    refuse("inputSize", inputSize, "a whole number from 1");
  }
  if (!(jitter >= 0 && jitter < 1)) refuse("jitter", jitter, "from 0 to below 1");
  if (!(initializerRange >= 0 && Number.isFinite(initializerRange))) {
    refuse("initializerRange", initializerRange, "a finite number from 0");
  }
  checkRouteSpec(spec);
  if (noise) checkNoise(noise);
}
