import type { Activation, FfnDescriptor } from "@moiety/core";
import { type MathFunction, mathText } from "../elementwise/math.ts";

/** Which mathematics an activation needs. */
const NEEDS: Readonly<Record<Activation, readonly MathFunction[]>> = {
  relu: [],
  reluSquared: [],
  gelu: ["errorFunction", "exponential"],
  geluTanh: ["hyperbolicTangent"],
  silu: ["logistic"],
  identity: [],
};

/** WGSL over `F` (four numbers): `act(x)`, and `slope(x)`, its derivative. */
function functionText({ activation, alpha = 1 }: FfnDescriptor): string {
  const steep = alpha === 1 ? "x" : `(x * ${float(alpha)})`;
  const slopeOfSteep = alpha === 1 ? "x" : `(${float(alpha)} * x)`;
  const texts: Record<Activation, readonly [act: string, slope: string]> = {
    relu: ["return select(x, F(0.0), x <= F(0.0));", "return select(F(1.0), F(0.0), x <= F(0.0));"],
    reluSquared: [
      "let r = select(x, F(0.0), x <= F(0.0)); return r * r;",
      "return 2.0 * select(x, F(0.0), x <= F(0.0));",
    ],
    gelu: [
      `return (x * 0.5) * (errorFunction(x * ${float(Math.SQRT1_2)}) + 1.0);`,
      `let share = 0.5 * (errorFunction(x * ${float(Math.SQRT1_2)}) + 1.0);
  return share + x * (exponential(-0.5 * (x * x)) * ${float(1 / Math.sqrt(2 * Math.PI))});`,
    ],
    geluTanh: [
      "return (x * 0.5) * (hyperbolicTangent(gelu_inner(x)) + 1.0);",
      `let t = hyperbolicTangent(gelu_inner(x));
  let growth = ${float(Math.sqrt(2 / Math.PI))} * (1.0 + ${float(3 * 0.044715)} * (x * x));
  return 0.5 * (t + 1.0) + (0.5 * x) * ((1.0 - t * t) * growth);`,
    ],
    silu: [
      `return x * logistic(${steep});`,
      `let s = logistic(${steep}); return s + ${slopeOfSteep} * (s * (1.0 - s));`,
    ],
    identity: ["return x;", "return F(1.0);"],
  };
  const [act, slope] = texts[activation];
  const inner =
    activation === "geluTanh"
      ? `fn gelu_inner(x: F) -> F {
  return (x + ((x * x) * x) * 0.044715) * ${float(Math.sqrt(2 / Math.PI))};
}`
      : "";
  return `${inner}
fn act(x: F) -> F { ${act} }
fn slope(x: F) -> F { ${slope} }`;
}

/**
 * WGSL of what stands between the projections, four numbers at a time: `between(a, b)` with the
 * halves in the order in which they lie (`b` is not looked at in a plain bank), and
 * `between_back(a, b, d)`, which gives the value and the gradients of both halves.
 */
export function activationText(descriptor: FfnDescriptor): string {
  const { gate, clamp, upOffset = 0, activation } = descriptor;
  const early = clamp !== undefined && clamp.when !== "after";
  const late = clamp !== undefined && !early;
  const limit = float(clamp?.limit ?? 0);
  const halves = gate?.first === "up" ? "let gate = b; let up = a;" : "let gate = a; let up = b;";
  const offset = upOffset === 0 ? "bounded" : `(bounded + ${float(upOffset)})`;
  const body = `${halves}
  let limited_gate = ${early ? `least(gate, ${limit})` : "gate"};
  let activated = act(limited_gate);
  let limited = ${late ? `least(activated, ${limit})` : "activated"};
  let bounded = ${clamp ? `most(least(up, ${limit}), -${limit})` : "up"};`;
  return `${mathText(NEEDS[activation], 4)}
// NaN stays, by its bits: a comparison with it may be anything.
fn is_number(x: F) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) <= U(0x7f800000u); }
fn least(x: F, limit: f32) -> F { return select(x, F(limit), (x > F(limit)) & is_number(x)); }
fn most(x: F, limit: f32) -> F { return select(x, F(limit), (x < F(limit)) & is_number(x)); }
${functionText(descriptor)}
struct Back { value: F, first: F, second: F }
${
  gate
    ? `fn between(a: F, b: F) -> F {
  ${body}
  return limited * ${offset};
}
fn between_back(a: F, b: F, d: F) -> Back {
  ${body}
  var d_gate = d * ${offset};
  var d_up = d * limited;
  ${late ? `d_gate = select(F(0.0), d_gate, activated <= F(${limit}));` : ""}
  d_gate *= slope(limited_gate);
  ${early ? `d_gate = select(F(0.0), d_gate, gate <= F(${limit}));` : ""}
  ${clamp ? `d_up = select(F(0.0), d_up, (up <= F(${limit})) & (up >= F(-${limit})));` : ""}
  return Back(limited * ${offset}, ${gate.first === "up" ? "d_up, d_gate" : "d_gate, d_up"});
}`
    : `fn between(a: F, b: F) -> F { return act(a); }
fn between_back(a: F, b: F, d: F) -> Back { return Back(act(a), d * slope(a), F(0.0)); }`
}`;
}

/** What of a descriptor is in the text. */
export function activationVariant(descriptor: FfnDescriptor): string {
  const { activation, alpha, gate, clamp, upOffset } = descriptor;
  return JSON.stringify([activation, alpha, gate?.packing, gate?.first, clamp, upOffset]);
}

/** A number as WGSL reads it: with a point or an exponent. */
function float(value: number): string {
  const text = String(Math.fround(value));
  return /[.e]/.test(text) ? text : `${text}.0`;
}
