import type { FloatDType } from "../dtype.ts";
import { type Op, defineOp } from "../op.ts";
import type { RandomKey } from "../random.ts";
import type { Shape } from "../shape.ts";
import { FLOATS, attributeError, requireDType, requireSizes, requireWhole } from "./checks.ts";

/** Attributes of {@link randomBits}. */
export interface RandomAttributes {
  readonly key: RandomKey;
  readonly shape: Shape;
}

/**
 * u32 words of Threefry 2×32 with 20 rounds: element i in row-major order is word `i mod 2` of the
 * block `threefry2x32(key, [⌊i/2⌋, 0])`. Equal to the bit on every backend.
 */
export const randomBits: Op<[], RandomAttributes> = /*#__PURE__*/ defineOp({
  name: "randomBits",
  inputs: [],
  kernel: "inference",
  dynamic: ["key"],
  infer(_, { key, shape }) {
    requireDraw("randomBits", key, shape);
    return { shape, dtype: "u32" };
  },
});

/**
 * Uniform numbers in [0, 1): `(bits >>> 8) · 2⁻²⁴` of {@link randomBits}. Equal to the bit on every
 * backend.
 */
export const uniform: Op<[], RandomAttributes & { readonly dtype: FloatDType }> =
  /*#__PURE__*/ defineOp({
    name: "uniform",
    inputs: [],
    kernel: "inference",
    dynamic: ["key"],
    infer(_, { key, shape, dtype }) {
      requireDraw("uniform", key, shape);
      requireDType("uniform", "dtype", dtype, FLOATS);
      return { shape, dtype };
    },
  });

/**
 * Standard normal numbers: the inverse of the normal distribution function at
 * `((bits >>> 8) + ½) · 2⁻²⁴` of {@link randomBits}; `hostNormal` is exact, backends are held to a
 * tolerance.
 */
export const normal: Op<[], RandomAttributes & { readonly dtype: FloatDType }> =
  /*#__PURE__*/ defineOp({
    name: "normal",
    inputs: [],
    kernel: "inference",
    dynamic: ["key"],
    infer(_, { key, shape, dtype }) {
      requireDraw("normal", key, shape);
      requireDType("normal", "dtype", dtype, FLOATS);
      return { shape, dtype };
    },
  });

function requireDraw(op: string, key: RandomKey, shape: Shape): void {
  requireSizes(op, "shape", shape);
  if (!Array.isArray(key) || key.length !== 2) {
    throw attributeError(op, "key", key, "two u32; make it with randomKey(seed)");
  }
  for (const word of key) requireWhole(op, "key", word as number, 0, 2 ** 32 - 1);
}
