import {
  ConfigError,
  type InitOptions,
  type Initialized,
  type NoState,
  type RandomKey,
  type RouteContext,
  type Soft,
  type Tensor,
  and,
  atLeast,
  broadcast,
  cast,
  checkRouteContext,
  flattenTokens,
  constantParameter,
  equal,
  isNaN,
  matmul,
  mul,
  normalParameter,
  select,
  softmax,
  stopGradient,
  sum,
  transpose,
} from "@moiety/core";
import { type ShapedRouter, type ShapesOf, routerParameter } from "./gate.ts";
import { drawKeys } from "./keys.ts";
import { type RouterNoise, addFixedNoise, requireFixedNoise } from "./noise.ts";
import { refuseOption, requirePositive, requireWhole } from "./option.ts";
import { type SoftNorm, type SoftNormParams, normalizeForSlots } from "./soft-norm.ts";

/** Options of {@link softRouter}. */
export interface SoftOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** Slots of each expert. The usual number is sequence length / E. */
  readonly numSlots: number;
  /**
   * `vmoe` (the default): tokens and slots of unit length, a learned scale, slots take the layer's
   * input. `lucidrains`: learned norms on both sides, slots take the normalised tokens.
   */
  readonly variant?: "vmoe" | "lucidrains" | undefined;
  /** Of `lucidrains`: a LayerNorm instead of an RMSNorm. False unless given. */
  readonly useLayernorm?: boolean | undefined;
  /** Added to the logits in training: Gaussian (vmoe) or Gumbel (lucidrains). */
  readonly noise?: RouterNoise | undefined;
  /** Standard deviation of the initial slots; 1/√H for `vmoe`, 1 for `lucidrains` unless given. */
  readonly initializerRange?: number | undefined;
}

/** Parameters of a {@link softRouter}. */
export interface SoftParams {
  /** `[E, slots, H]`. vmoe's `mu` is `[H, E, slots]`. */
  readonly slots: Tensor;
  /** `[]`, of `vmoe`: factor of the logits. */
  readonly scale?: Tensor | undefined;
  /** Of tokens, with `lucidrains`. */
  readonly norm?: SoftNormParams | undefined;
  /** Of slots, with `lucidrains`. */
  readonly slotNorm?: SoftNormParams | undefined;
}

/** A router whose slots take mixtures of tokens. */
export interface SoftRouter extends ShapedRouter<SoftParams> {
  /** Slots of each expert. */
  readonly slots: number;
  route(params: SoftParams, state: NoState, x: Tensor, context?: RouteContext): Soft;
}

/**
 * Soft MoE: logits `[T, S]` compare each token with each of the S = E · slots slots. A slot takes the
 * mixture of all tokens of its sequence by a softmax over tokens, a token takes the mixture of all
 * slots' outputs by a softmax over slots. Nothing is chosen or dropped, and every expert has the same
 * load. The routing's `logits` and `scores` are `[T, S]`, scores being those of combine.
 *
 * Sequences must be equally long. Padding goes into no slot and gets 0; so does a token with NaN,
 * whose own output is NaN. Looks across tokens, and has no causal rule: a token's output is made of
 * mixtures of the whole sequence, so a causal model cannot use it.
 *
 * Paper: Puigcerver et al., "From Sparse to Soft Mixtures of Experts" (2023). Sources: vmoe
 * `projects/soft_moe/router.py`; lucidrains/soft-moe-pytorch `soft_moe.py`.
 * @throws ConfigError
 */
export function softRouter(options: SoftOptions): SoftRouter {
  checkOptions(options);
  const { hiddenSize, numExperts, numSlots } = options;
  const shapes = shapesOf(options);
  return {
    experts: numExperts,
    inputSize: hiddenSize,
    acrossTokens: true,
    slots: numSlots,
    shapes,
    stateShapes: {},
    init: (key, init) => initialize(options, key, init),
    route(params, _state, x, context = {}) {
      const flat = atLeast(flattenTokens(x, hiddenSize), "f32");
      checkRouteContext(context, flat.shape[0] ?? 0);
      return route(options, params, flat, context);
    },
  };
}

function route(options: SoftOptions, params: SoftParams, x: Tensor, context: RouteContext): Soft {
  const { numExperts, numSlots, variant = "vmoe", noise } = options;
  const [tokens = 0, width = 0] = x.shape;
  const total = numExperts * numSlots;
  const groups = groupsOf(context, tokens);
  const { slots, scale, norm, slotNorm } = checkedParams(options, params);
  const kind = normOf(options);
  const normalized = normalizeForSlots(x, kind, norm);
  const compared = normalizeForSlots(slots.reshape([total, width]), kind, slotNorm);
  const raw = matmul(normalized, scale ? mul(compared, scale) : compared, { transposeB: true });
  const added =
    noise && context.training
      ? addFixedNoise(raw, noise, context, drawKeys(context.key))
      : undefined;
  const logits = added ? added.noisy : raw;
  const whole = equal(sum(cast(isNaN(logits), { dtype: "i32" }), [-1]), 0);
  const live = context.mask ? and(whole, context.mask) : whole;
  const length = groups === 0 ? 0 : tokens / groups;
  const grouped = logits.reshape([groups, length, total]);
  const combine = softmax(grouped, context.mask?.reshape([groups, length, 1]));
  return {
    kind: "soft",
    experts: numExperts,
    slots: numSlots,
    logits,
    scores: combine.reshape([tokens, total]),
    dispatch: overTokens(grouped, live.reshape([groups, 1, length])),
    combine,
    // What is no token must not meet the sum over tokens: 0 · NaN is NaN.
    source: select(live.reshape([tokens, 1]), variant === "vmoe" ? x : normalized, 0),
    mask: context.mask,
    sequences: context.sequences,
    noise: added?.noise,
  };
}

/** Softmax over the tokens of each group: `[G, L, S]` → `[G, L, S]`. */
function overTokens(logits: Tensor, live: Tensor): Tensor {
  const turned = transpose(logits, { permutation: [0, 2, 1] });
  const mask = broadcast(live, { shape: turned.shape });
  return transpose(softmax(turned, mask), { permutation: [0, 2, 1] });
}

/** How many sequences there are. @throws ConfigError where they are not equally long */
function groupsOf({ sequences }: RouteContext, tokens: number): number {
  if (sequences === undefined) return 1;
  const lengths = sequences.slice(1).map((end, index) => end - (sequences[index] ?? 0));
  if (lengths.every((length) => length * lengths.length === tokens)) return lengths.length;
  throw new ConfigError(
    `softRouter needs sequences of equal length, not of ${lengths.join(", ")} tokens; ` +
      "pad them and give a mask",
    "context.sequences",
    sequences,
  );
}

function normOf({ variant = "vmoe", useLayernorm = false }: SoftOptions): SoftNorm {
  if (variant === "vmoe") return "unit";
  return useLayernorm ? "layer" : "rms";
}

function shapesOf(options: SoftOptions): ShapesOf<SoftParams> {
  const { hiddenSize, numExperts, numSlots } = options;
  const kind = normOf(options);
  const slots = [numExperts, numSlots, hiddenSize];
  if (kind === "unit") return { slots, scale: [] } as ShapesOf<SoftParams>;
  const norm = { gamma: [hiddenSize], ...(kind === "layer" && { beta: [hiddenSize] }) };
  return { slots, norm, slotNorm: norm } as ShapesOf<SoftParams>;
}

function initialize(
  options: SoftOptions,
  key: RandomKey,
  init: InitOptions,
): Initialized<SoftParams, NoState> {
  const { hiddenSize, numExperts, numSlots, variant = "vmoe" } = options;
  const { initializerRange = variant === "vmoe" ? 1 / Math.sqrt(hiddenSize) : 1 } = options;
  const kind = normOf(options);
  const norm = (): SoftNormParams => ({
    gamma: constantParameter(1, [hiddenSize], init),
    ...(kind === "layer" && { beta: constantParameter(0, [hiddenSize], init) }),
  });
  return {
    params: {
      slots: normalParameter(key, [numExperts, numSlots, hiddenSize], initializerRange, init),
      ...(kind === "unit"
        ? { scale: constantParameter(1, [], init) }
        : { norm: norm(), slotNorm: norm() }),
    },
    state: {},
  };
}

/** The parameters as float32 at least. @throws ConfigError, ShapeError */
function checkedParams(options: SoftOptions, params: SoftParams): SoftParams {
  const { hiddenSize, numExperts, numSlots } = options;
  const kind = normOf(options);
  const normParams = (given: SoftNormParams | undefined): SoftNormParams | undefined => {
    if (kind === "unit") return undefined;
    const own: Partial<SoftNormParams> = given ?? {};
    const beta = routerParameter(own, "beta", kind === "layer" ? [hiddenSize] : undefined);
    return {
      gamma: routerParameter(own, "gamma", [hiddenSize]) as Tensor,
      // A buffer in the source: it is loaded, and not trained.
      beta: beta && stopGradient(beta),
    };
  };
  return {
    slots: routerParameter(params, "slots", [numExperts, numSlots, hiddenSize]) as Tensor,
    scale: routerParameter(params, "scale", kind === "unit" ? [] : undefined),
    norm: normParams(params.norm),
    slotNorm: normParams(params.slotNorm),
  };
}

function checkOptions(options: SoftOptions): void {
  const { hiddenSize, numExperts, numSlots, variant = "vmoe", noise } = options;
  for (const [name, value] of Object.entries({ hiddenSize, numExperts, numSlots })) {
    requireWhole(name, value);
  }
  if (!["vmoe", "lucidrains"].includes(variant)) {
    throw refuseOption("variant", variant, "vmoe or lucidrains");
  }
  if (options.useLayernorm && variant === "vmoe") {
    throw refuseOption("useLayernorm", true, "false with the variant vmoe");
  }
  const { initializerRange = 1 } = options;
  requirePositive("initializerRange", initializerRange);
  requireFixedNoise(noise);
}
