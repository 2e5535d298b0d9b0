import {
  type Choice,
  type RouteSpec,
  type RouteStages,
  type Shape,
  ShapeError,
  type Tensor,
  abs,
  add,
  and,
  concat,
  customGradient,
  div,
  equal,
  foldIn,
  formatShape,
  greater,
  isNaN,
  lessEqual,
  maximum,
  mul,
  notEqual,
  oneHot,
  or,
  sameShape,
  select,
  slice,
  softmax,
  stopGradient,
  sub,
  takeAlong,
  topK,
  where,
} from "@moiety/core";
import { type Draw, stageDraws } from "./draws.ts";
import { type LinearRouter, linearRouter } from "./linear-router.ts";
import { requireNotNegative } from "./option.ts";
import type { StageCall } from "./staged-router.ts";

/** Options of {@link sparseMixerRouter}, by the names of Hugging Face's configuration. */
export interface SparseMixerOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E, at least 2. */
  readonly numLocalExperts: number;
  /**
   * ε: logits more than 2ε below the largest, relative to the larger of it and |logit|, take no part
   * in the softmax. 0.01 unless given.
   */
  readonly routerJitterNoise?: number | undefined;
  /** ε of the multiplicative jitter of the router's input in training; 0 unless given. */
  readonly inputJitterNoise?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** SparseMixer-v2 as data: two experts by their logits; its weights are a stage of its own. */
export function sparseMixerSpec({
  numLocalExperts,
}: Pick<SparseMixerOptions, "numLocalExperts">): RouteSpec {
  return { experts: numLocalExperts, topK: 2, score: "softmax", selectBy: "logits" };
}

/**
 * SparseMixer-v2, the router of Phi-3.5-MoE. For each of its two choices: l = x · Wᵀ without the
 * choice before, m = max l, p = softmax over the experts with (m − l) / max(|l|, m) ≤ 2ε; the weight
 * is p of the chosen expert. The two weights don't sum to 1.
 *
 * Outside training the choice is argmax l. In training it is drawn from p, and the weight is p · h
 * with h = 1 where the draw is the most probable expert or, else, with probability ¼ (Heun's third
 * order method), and 0.3333 otherwise. The gradient is that of p, whatever h is:
 * ∂/∂l = p_i · (onehot(i) − p). Training needs `context.key`, or `context.noise [2, T, E + 1]`: for each
 * choice E standard Gumbel numbers and an even one in [0, 1). No token sees another.
 *
 * Papers: Liu et al., "GRIN" (2024); "Sparse Backpropagation for MoE Training" (2023). Source:
 * transformers `modeling_phimoe.py`, `sparsemixer`.
 * @throws ConfigError
 */
export function sparseMixerRouter(options: SparseMixerOptions): LinearRouter {
  const { routerJitterNoise: epsilon = 0.01 } = options;
  requireNotNegative("routerJitterNoise", epsilon);
  return linearRouter({
    inputSize: options.hiddenSize,
    spec: sparseMixerSpec(options),
    jitter: options.inputJitterNoise,
    stages: (call) => sparseMixerStages(epsilon, call),
    initializerRange: options.initializerRange,
  });
}

/** Select and weight stages of SparseMixer-v2 for one call. */
export function sparseMixerStages(epsilon: number, call: StageCall): RouteStages {
  return {
    select({ logits }) {
      const first = chooseOne(logits, nearBest(logits, undefined, epsilon), call, 0);
      const second = chooseOne(logits, nearBest(logits, first, epsilon), call, 1);
      return concat(first, second, { axis: 1 });
    },
    weight({ logits, indices }: Choice) {
      const [first, second] = [column(indices, 0), column(indices, 1)];
      return concat(
        weighOne(logits, nearBest(logits, undefined, epsilon), first, call, 0),
        weighOne(logits, nearBest(logits, first, epsilon), second, call, 1),
        { axis: 1 },
      );
    },
  };
}

/** `[T, E]` bool: experts other than `taken [T, 1]` whose logits are near the best of them. */
function nearBest(traced: Tensor, taken: Tensor | undefined, epsilon: number): Tensor {
  const logits = stopGradient(traced);
  const open = taken && otherThan(taken, logits);
  const best = topK(logits, open, { k: 1 })[0];
  const factor = maximum(abs(logits), best);
  const distance = div(sub(best, logits), select(equal(factor, 0), 1, factor));
  // NaN takes part, so that its token shows it.
  const near = or(lessEqual(distance, 2 * epsilon), isNaN(logits));
  return open ? and(near, open) : near;
}

function otherThan(taken: Tensor, { shape }: Tensor): Tensor {
  return notEqual(oneHot(taken, shape[1] ?? 0, "i32").reshape(shape), 1);
}

/** `[T, 1]`: the best expert, or one drawn from the softmax of those near it. */
function chooseOne(logits: Tensor, near: Tensor, call: StageCall, place: number): Tensor {
  const drawn = call.training ? add(logits, drawsOf(call, place, "gumbel", logits)) : logits;
  return topK(drawn, near, { k: 1 })[1];
}

/** `[T, 1]`: the masked softmax at the chosen expert, in training times Heun's factor. */
function weighOne(
  logits: Tensor,
  near: Tensor,
  chosen: Tensor,
  call: StageCall,
  place: number,
): Tensor {
  const shares = softmax(logits, near);
  const weight = takeAlong(shares, chosen, { axis: 1, unique: true });
  if (!call.training) return weight;
  const likeliest = topK(stopGradient(shares), undefined, { k: 1 })[1];
  const even = drawsOf(call, place, "uniform", logits);
  const whole = or(equal(chosen, likeliest), greater(even, 0.75));
  const factor = where(whole, undefined, undefined, { a: 1, b: THIRD, dtype: weight.dtype });
  return withPlainGradient(weight, factor);
}

/** What the source multiplies with where Heun's method takes the midpoint: 1/3, in four digits. */
const THIRD = 0.3333;

/** weight · factor, with the gradient of the weight alone. */
function withPlainGradient(weight: Tensor, factor: Tensor): Tensor {
  return customGradient((value: Tensor) => ({
    outputs: [mul(value, factor)] as const,
    gradient: ([gradient]) => [gradient],
  }))(weight)[0];
}

/** The draws of a choice: Gumbel numbers `[T, E]`, or even ones `[T, 1]`. */
function drawsOf({ context, key }: StageCall, place: number, draw: Draw, logits: Tensor): Tensor {
  const [tokens = 0, experts = 0] = logits.shape;
  const shape = draw === "gumbel" ? [tokens, experts] : [tokens, 1];
  const given = context.noise && requireNoise(context.noise, [2, tokens, experts + 1]);
  const starts = [place, 0, draw === "gumbel" ? 0 : experts];
  const noise = given && slice(given, { starts, sizes: [1, ...shape] }).reshape(shape);
  const own = key && foldIn(key, 2 * place + (draw === "gumbel" ? 0 : 1));
  return stageDraws({ context: { ...context, noise }, key: own }, draw, shape, logits);
}

function requireNoise(noise: Tensor, shape: Shape): Tensor {
  if (sameShape(noise.shape, shape)) return noise;
  throw new ShapeError(
    `context.noise is ${formatShape(noise.shape)}, but must be ${formatShape(shape)}`,
    { shapes: [noise.shape] },
  );
}

function column(of: Tensor, index: number): Tensor {
  return slice(of, { starts: [0, index], sizes: [of.shape[0] ?? 0, 1] });
}
