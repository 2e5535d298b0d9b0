import {
  type RandomKey,
  type RouteContext,
  type Shape,
  ShapeError,
  type Tensor,
  cast,
  formatShape,
  log,
  log1p,
  maximum,
  neg,
  sameShape,
  stopGradient,
  uniform,
} from "@moiety/core";
import { floatOf } from "./dtype.ts";
import { requireKey } from "./keys.ts";

/** What a call brings to the draws of own stages. */
export interface DrawCall {
  readonly context: RouteContext;
  readonly key: RandomKey | undefined;
}

/** A distribution that own stages draw from: [0, 1) evenly, or standard Gumbel. */
export type Draw = "uniform" | "gumbel";

/**
 * Standard Gumbel numbers −log(−log(1 − u)) of evenly drawn u, in the dtype of `like`. The smallest u
 * is 2⁻²⁵, so that all are finite: between −2.9 and 17.4.
 */
export function gumbel(key: RandomKey, shape: Shape, like: Tensor): Tensor {
  const draws = uniform(like.backend, { key, shape, dtype: floatOf(like) });
  return neg(log(neg(log1p(neg(maximum(draws, 2 ** -25))))));
}

/**
 * Numbers given in the place of drawn ones, in the dtype of `like` and without a gradient.
 * @throws ShapeError where they have another shape than the draws
 */
export function injectedDraws(
  given: Tensor | undefined,
  shape: Shape,
  like: Tensor,
): Tensor | undefined {
  if (given === undefined) return undefined;
  if (!sameShape(given.shape, shape)) {
    throw new ShapeError(
      `context.noise is ${formatShape(given.shape)}, but must be ${formatShape(shape)}`,
      { shapes: [given.shape] },
    );
  }
  const still = stopGradient(given);
  return still.dtype === like.dtype ? still : cast(still, { dtype: like.dtype });
}

/**
 * The draws of an own stage: `context.noise` where given, else drawn with the call's key.
 * @throws ConfigError without either, ShapeError where the noise has another shape
 */
export function stageDraws(call: DrawCall, draw: Draw, shape: Shape, like: Tensor): Tensor {
  const given = injectedDraws(call.context.noise, shape, like);
  if (given) return given;
  const key = requireKey(call.key, "draw, without context.noise,");
  if (draw === "gumbel") return gumbel(key, shape, like);
  return uniform(like.backend, { key, shape, dtype: floatOf(like) });
}
