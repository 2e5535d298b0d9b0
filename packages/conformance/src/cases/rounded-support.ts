import {
  type AnyOp,
  type ProductFormat,
  type Shape,
  binary,
  compare,
  productFormats,
  reduce,
  roundsActivations,
  sizeOf,
  unary,
  where,
} from "@moiety/core";
import type { BoundedValues } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";

/** The formats whose products read rounded activations. */
export const ROUNDING_FORMATS: readonly ProductFormat[] = productFormats.filter(roundsActivations);

/** The ops of `roundBlocks` taken apart. */
export const ROUND_OPS: readonly AnyOp[] = [reduce, unary, binary, compare, where];

/** Neighbours along the last axis that share a step. */
export const BLOCK = 32;
/** Steps of the largest magnitude of a block. */
export const STEPS = 127;
/** The powers of two that steps are, block after block. */
const POWERS = [-7, -5, -6] as const;
/** Numbers lie at most so many eighths of a step beside a whole number of steps. */
const MOST_EIGHTHS = 3;

/**
 * Numbers `[…, K]` that every honest backend rounds alike. Rounding is a jump: where a number lies near
 * half a step, two right backends may go either way, and nothing but a whole step would be a fair
 * tolerance. So the largest magnitude of each block is 127 times a power of two, which makes that
 * power its step, exactly, and the others lie a whole number of steps and at most 3/8 of one from 0:
 * far from halves, and exact in float32. With `eighths: 0` all are whole.
 */
export function stepped(
  random: CaseRandom,
  shape: Shape,
  { eighths = MOST_EIGHTHS }: { readonly eighths?: number } = {},
): HostTensor {
  const whole = random.integers(shape, 1 - STEPS, STEPS - 1).data;
  const parts = random.integers(shape, -eighths, eighths).data;
  const blocks = [Math.ceil(sizeOf(shape) / BLOCK)];
  const places = random.integers(blocks, 0, BLOCK - 1).data;
  const signs = random.bools(blocks).data;
  return generated(shape, "f32", (index) => {
    const block = Math.floor(index / BLOCK);
    const step = 2 ** (POWERS[block % POWERS.length] ?? 0);
    if (index % BLOCK === places[block]) return (signs[block] ? STEPS : -STEPS) * step;
    return ((whole[index] ?? 0) + (parts[index] ?? 0) / 8) * step;
  });
}

/**
 * Whether no honest backend rounds otherwise, for each row of rounded numbers (what `roundBlocks` gave
 * on the references), of `width` numbers each: what could go to either side has a bound of a step.
 */
export function decidedRows({ values, bounds }: BoundedValues, width: number): boolean[] {
  const rows = width === 0 ? 0 : values.length / width;
  return Array.from({ length: rows }, (_, row) => {
    for (let start = row * width; start < (row + 1) * width; start += BLOCK) {
      const half =
        Math.max(...[...values.subarray(start, start + BLOCK)].map(Math.abs)) / STEPS / 2;
      const doubtful = bounds
        .subarray(start, start + BLOCK)
        .some((bound) => bound > 0 && !(bound < half));
      if (doubtful) return false;
    }
    return true;
  });
}
