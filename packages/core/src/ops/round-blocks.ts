import { type Op, defineOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { abs, div, equal, mul, round, select } from "./arithmetic.ts";
import { requireFloat, requireRank, shapeError } from "./checks.ts";
import { max } from "./reduction.ts";

/** Neighbours along the last axis that share a step. */
const BLOCK = 32;
/** The largest whole number of steps, which the largest number of a block becomes. */
const STEPS = 127;

/**
 * `x […, K]` with each block of 32 neighbours rounded to whole numbers of a step, the largest magnitude
 * of the block / 127; halves go to even. So 8 bits and a scale hold a number, as in llama.cpp's Q8_0. A
 * block of zeros stays as it is; one with a NaN or an infinity keeps NaN. Float, K a multiple of 32.
 *
 * The gradient is that of `x`, as if nothing were rounded.
 */
export const roundBlocks: Op<[x: Tensor]> = /*#__PURE__*/ defineOp({
  name: "roundBlocks",
  inputs: ["x"],
  infer([x]) {
    requireFloat("roundBlocks", "x", x.dtype);
    requireRank("roundBlocks", "x", x, 1);
    if ((x.shape.at(-1) ?? 0) % BLOCK !== 0) {
      throw shapeError("roundBlocks", "rows end within a block of 32", [x]);
    }
    return x;
  },
  gradient: ({ gradients: [gradient] }) => [gradient],
  decompose([x]) {
    if (x.size === 0) return x.reshape(x.shape);
    const blocks = x.reshape([...x.shape.slice(0, -1), (x.shape.at(-1) ?? 0) / BLOCK, BLOCK]);
    const step = div(max(abs(blocks), [-1], true), STEPS);
    const whole = round(div(blocks, select(equal(step, 0), 1, step)));
    return mul(whole, step).reshape(x.shape);
  },
});
