import type { Activation } from "@moiety/core";
import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { erf4, sigmoid4, tanh4 } from "../functions/index.ts";
import type { FfnProblem } from "./problem.ts";

/** Numbers of the activations; `identity` has none. */
const KINDS: Readonly<Record<Activation, number>> = {
  silu: 0,
  gelu: 1,
  geluTanh: 2,
  relu: 3,
  reluSquared: 4,
  identity: 5,
};

/** What stands between the projections, in memory: places of its words. */
const WORDS = {
  kind: 0,
  alpha: 4,
  /** Added to what is gated. */
  offset: 8,
  /** Limits of the gate before and behind its activation, and of what is gated; perhaps ∞. */
  gateLimit: 12,
  activatedLimit: 16,
  upLimit: 20,
} as const;
const BYTES = 24;

/** Writes a descriptor where the routines read it; its address. */
export function writeActivation(call: KernelCall, { descriptor }: FfnProblem): number {
  const { activation, alpha = 1, upOffset = 0, clamp } = descriptor;
  const address = call.temporary(BYTES);
  const { ownView: view } = call;
  const limit = clamp?.limit ?? Number.POSITIVE_INFINITY;
  const late = clamp?.when === "after";
  view.setInt32(address + WORDS.kind, KINDS[activation], true);
  const floats: readonly (readonly [keyof typeof WORDS, number])[] = [
    ["alpha", alpha],
    ["offset", upOffset],
    ["gateLimit", late ? Number.POSITIVE_INFINITY : limit],
    ["activatedLimit", late ? limit : Number.POSITIVE_INFINITY],
    ["upLimit", limit],
  ];
  for (const [word, value] of floats) view.setFloat32(address + WORDS[word], value, true);
  return address;
}

/** act(x), of four floats: parameters are x and the address of the descriptor. */
export const activatePlain: Subroutine = {
  name: "activatePlain",
  parameters: ["v128", "i32"],
  result: "v128",
  write(body) {
    const words = readWords(body, body.parameter(I32, 1));
    body.returnValue(activated(body, body.parameter(F32x4, 0), words));
  },
};

/** act(gate) · (up + offset), of four floats: gate, up and the address of the descriptor. */
export const activateGated: Subroutine = {
  name: "activateGated",
  parameters: ["v128", "v128", "i32"],
  result: "v128",
  write(body) {
    const words = readWords(body, body.parameter(I32, 2));
    const gate = body.parameter(F32x4, 0).pmin(words.gateLimit);
    const value = activated(body, gate, words).pmin(words.activatedLimit);
    body.returnValue(value.mul(boundedUp(body.parameter(F32x4, 1), words)));
  },
};

/** SwiGLU without limits is what most banks have: {@link swiglu} computes it without a call. */
export function isSwiglu({ descriptor }: FfnProblem): boolean {
  const { activation, alpha = 1, upOffset = 0, gate, clamp } = descriptor;
  return activation === "silu" && alpha === 1 && upOffset === 0 && !!gate && !clamp;
}

/** silu(gate) · up, of four floats. */
export function swiglu(body: Body, gate: F32x4, up: F32x4): F32x4 {
  return gate.mul(sigmoid4(body, gate)).mul(up);
}

/** A descriptor in locals. */
export interface ActivationWords {
  readonly kind: I32;
  readonly alpha: F32x4;
  readonly offset: F32x4;
  readonly gateLimit: F32x4;
  readonly activatedLimit: F32x4;
  readonly upLimit: F32x4;
}

/** Reads a descriptor. */
export function readWords(body: Body, address: I32): ActivationWords {
  const float = (place: number): F32x4 => body.let(F32x4.loadSplat(address, place));
  return {
    kind: body.let(I32.load(address, WORDS.kind)),
    alpha: float(WORDS.alpha),
    offset: float(WORDS.offset),
    gateLimit: float(WORDS.gateLimit),
    activatedLimit: float(WORDS.activatedLimit),
    upLimit: float(WORDS.upLimit),
  };
}

/** `pmin` and `pmax` leave NaN: a token that has one shall show it. */
export function boundedUp(up: F32x4, { upLimit, offset }: ActivationWords): F32x4 {
  return up.pmin(upLimit).pmax(upLimit.neg()).add(offset);
}

/** One of several, by the kind of the activation. */
export function byKind(
  body: Body,
  { kind }: ActivationWords,
  cases: Readonly<Record<Exclude<Activation, "identity">, () => void>>,
): void {
  const [name, ...names] = Object.keys(KINDS) as Activation[];
  const from = (current: Activation | undefined, rest: readonly Activation[]): void => {
    if (current === undefined || current === "identity") return;
    body.if(kind.eq(KINDS[current]), cases[current], () => from(rest[0], rest.slice(1)));
  };
  from(name, names);
}

function activated(body: Body, x: F32x4, words: ActivationWords): F32x4 {
  const value = body.let(x);
  const positive = (): F32x4 =>
    value
      .as(I32x4)
      .andNot(value.le(F32x4.const(0)))
      .as(F32x4);
  const half = (): F32x4 => value.mul(F32x4.const(0.5));
  const one = F32x4.const(1);
  byKind(body, words, {
    silu: () => body.set(value, value.mul(sigmoid4(body, value.mul(words.alpha)))),
    gelu: () =>
      body.set(value, half().mul(erf4(body, value.mul(F32x4.const(Math.SQRT1_2))).add(one))),
    geluTanh: () => body.set(value, half().mul(tanh4(body, geluInner(body, value)).add(one))),
    relu: () => body.set(value, positive()),
    reluSquared: () => {
      body.set(value, positive());
      body.set(value, value.mul(value));
    },
  });
  return value;
}

/** Constants of GELU by the hyperbolic tangent. */
export const GELU_CUBE = 0.044715;
/** Constants of GELU by the hyperbolic tangent. */
export const GELU_SCALE: number = /*#__PURE__*/ Math.sqrt(2 / Math.PI);

/** What GELU takes the hyperbolic tangent of; x is a local. */
export function geluInner(body: Body, x: F32x4): F32x4 {
  const cube = body.let(x.mul(x).mul(x));
  return body.madd(cube, F32x4.const(GELU_CUBE), x).mul(F32x4.const(GELU_SCALE));
}
