import type { Body } from "../../emit/body.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { erf4, exp4, sigmoid4, tanh4 } from "../functions/index.ts";
import {
  type ActivationWords,
  GELU_CUBE,
  GELU_SCALE,
  boundedUp,
  byKind,
  geluInner,
} from "./activation.ts";

/** What {@link backOf} gives: the activation, and the gradients of what it was made of. */
export interface ActivationBack {
  readonly value: F32x4;
  readonly gate: F32x4;
  /** Undefined where nothing is gated. */
  readonly up: F32x4 | undefined;
}

/** The activation of a gate, or of a plain value, with its gradients from its own. Operands are locals. */
export function backOf(
  body: Body,
  words: ActivationWords,
  gate: F32x4,
  up: F32x4 | undefined,
  gradient: F32x4,
): ActivationBack {
  const limited = body.let(up ? gate.pmin(words.gateLimit) : gate);
  const { value, slope } = activatedBack(body, limited, words);
  if (up === undefined) return { value, gate: body.let(gradient.mul(slope)), up };
  const bounded = body.let(boundedUp(up, words));
  const factor = body.let(value.pmin(words.activatedLimit));
  // A limit that acts lets no gradient through; NaN is not limited.
  const free = gate.gt(words.gateLimit).or(value.gt(words.activatedLimit)).not();
  const freeUp = up.gt(words.upLimit).or(up.lt(words.upLimit.neg())).not();
  const through = gradient.mul(bounded).mul(slope);
  return {
    value: body.let(factor.mul(bounded)),
    gate: body.let(through.as(I32x4).and(free).as(F32x4)),
    up: body.let(gradient.mul(factor).as(I32x4).and(freeUp).as(F32x4)),
  };
}

/** SwiGLU without limits, with its gradients from its own. Operands are locals. */
export function swigluBack(
  body: Body,
  gate: F32x4,
  up: F32x4,
  gradient: F32x4,
): Required<ActivationBack> {
  const share = body.let(sigmoid4(body, gate));
  const activation = body.let(gate.mul(share));
  const slope = body.madd(activation, F32x4.const(1).sub(share), share);
  return {
    value: body.let(activation.mul(up)),
    gate: body.let(gradient.mul(up).mul(slope)),
    up: body.let(gradient.mul(activation)),
  };
}

/** The activation with its derivative. */
function activatedBack(
  body: Body,
  x: F32x4,
  words: ActivationWords,
): { readonly value: F32x4; readonly slope: F32x4 } {
  const one = F32x4.const(1);
  const half = F32x4.const(0.5);
  const value = body.let(x);
  const slope = body.let(one);
  const positive = (y: F32x4): F32x4 =>
    y
      .as(I32x4)
      .andNot(x.le(F32x4.const(0)))
      .as(F32x4);
  byKind(body, words, {
    silu: () => {
      const steep = body.let(x.mul(words.alpha));
      const share = body.let(sigmoid4(body, steep));
      body.set(value, x.mul(share));
      body.set(slope, body.madd(steep.mul(share), one.sub(share), share));
    },
    gelu: () => {
      const share = body.let(
        erf4(body, x.mul(F32x4.const(Math.SQRT1_2)))
          .add(one)
          .mul(half),
      );
      const bell = exp4(body, x.mul(x).mul(F32x4.const(-0.5)));
      body.set(value, x.mul(share));
      const density = bell.mul(F32x4.const(1 / Math.sqrt(2 * Math.PI)));
      body.set(slope, body.madd(x, density, share));
    },
    geluTanh: () => {
      const t = body.let(tanh4(body, geluInner(body, x)));
      const share = body.let(t.add(one).mul(half));
      body.set(value, x.mul(share));
      const square = body.let(x.mul(x));
      const growth = body.madd(
        square,
        F32x4.const(3 * GELU_CUBE * GELU_SCALE),
        F32x4.const(GELU_SCALE),
      );
      const bend = one.sub(t.mul(t)).mul(growth).mul(half);
      body.set(slope, body.madd(x, bend, share));
    },
    relu: () => {
      body.set(value, positive(x));
      body.set(slope, positive(one));
    },
    reluSquared: () => {
      const kept = body.let(positive(x));
      body.set(value, kept.mul(kept));
      body.set(slope, kept.add(kept));
    },
  });
  return { value, slope };
}
