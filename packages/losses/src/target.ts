import {
  ConfigError,
  DTypeError,
  ShapeError,
  type Tensor,
  cast,
  div,
  formatShape,
  isFloat,
  isTensor,
  mul,
  stopGradient,
  sum,
} from "@moiety/core";

/**
 * The share q_e of the load that each expert shall have, `[E]`: every share above 0, their sum 1.
 * Even (1/E each) unless given.
 */
export type Target = readonly number[] | Tensor;

/** Refuses shares that make no sense. Those of a tensor stay on the device and are trusted. @throws ConfigError, ShapeError, DTypeError */
export function checkTarget(name: string, target: Target): void {
  if (isTensor(target)) {
    if (target.rank !== 1) {
      throw new ShapeError(`${name}: target is ${formatShape(target.shape)}, but must be [E]`, {
        op: name,
        shapes: [target.shape],
      });
    }
    if (!isFloat(target.dtype)) {
      throw new DTypeError(`${name}: target is ${target.dtype}, but must be float`, { op: name });
    }
    return;
  }
  const refuse = (value: unknown, what: string): never => {
    throw new ConfigError(`${name}: target ${what}`, "target", value);
  };
  if (!Array.isArray(target)) refuse(target, "must be a list of numbers or a tensor [E]");
  for (const [expert, share] of target.entries()) {
    if (!(share > 0 && Number.isFinite(share))) {
      refuse(share, `of expert ${expert} is ${String(share)}, but must be above 0`);
    }
  }
  const total = target.reduce((sumSoFar, share) => sumSoFar + share, 0);
  if (!(Math.abs(total - 1) <= 1e-5)) {
    refuse(target, `sums to ${total}, but must sum to 1; divide each share by the sum`);
  }
}

/** The shares as a tensor `[E]` beside `like`, without a gradient. @throws ConfigError on a wrong length */
export function targetTensor(
  name: string,
  target: Target | undefined,
  experts: number,
  like: Tensor,
): Tensor | undefined {
  if (target === undefined) return undefined;
  const length = isTensor(target) ? target.size : target.length;
  if (length !== experts) {
    throw new ConfigError(
      `${name}: target has ${length} shares, but the routing has ${experts} experts`,
      "target",
      length,
    );
  }
  const dtype = like.dtype === "f64" ? "f64" : "f32";
  if (!isTensor(target)) return like.backend.tensor([...target], { shape: [experts], dtype });
  const still = stopGradient(target);
  return still.dtype === dtype ? still : cast(still, { dtype });
}

/**
 * Σ_e x_e / q_e over the last axis of `products […, E]`, where x is a product of two shares: E · Σ_e
 * x_e for an even target. Where both shares are q it is Σ_e q_e = 1.
 */
export function sumOverTarget(
  name: string,
  products: Tensor,
  target: Target | undefined,
  experts: number,
): Tensor {
  const shares = targetTensor(name, target, experts, products);
  return shares ? sum(div(products, shares), [-1]) : mul(sum(products, [-1]), experts);
}
