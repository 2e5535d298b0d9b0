/**
 * Functions of floats in WGSL, with errors of a few units in the last place where the language's own
 * promise less (`log` near 1, `sin` and `cos` away from 0) or nothing. Each is written once over the
 * alias `F`, which is `f32` or `vec4<f32>`. The polynomials are minimax fits made for these ranges.
 */

/** The functions that can be asked for. */
export type MathFunction =
  | "exponential"
  | "logarithm"
  | "logarithm1p"
  | "hyperbolicTangent"
  | "errorFunction"
  | "logistic"
  | "softplus"
  | "sine"
  | "cosine"
  | "power";

interface FunctionText {
  readonly needs: readonly MathFunction[];
  readonly text: string;
}

/**
 * WGSL of functions and what they call, after aliases `F`, `U`, `I`, `B` (floats, words, signed words
 * and truths of one width). All of them hand NaN through, and take infinities as limits.
 */
export function mathText(functions: readonly MathFunction[], width: 1 | 4 = 4): string {
  const names = new Set<MathFunction>();
  for (const name of functions) collect(name, names);
  const [F, U, I, B] = ["f32", "u32", "i32", "bool"].map((type) =>
    width === 4 ? `vec4<${type}>` : type,
  );
  const aliases = `alias F = ${F}; alias U = ${U}; alias I = ${I}; alias B = ${B};`;
  return [aliases, COMMON, ...[...names].map((name) => FUNCTIONS[name].text)].join("\n");
}

function collect(name: MathFunction, names: Set<MathFunction>): void {
  for (const need of FUNCTIONS[name].needs) collect(need, names);
  names.add(name);
}

const COMMON = `
// Bits, because an expression may not be evaluated to an infinity or NaN before it runs.
fn unlessNaN(x: F, y: F) -> F {
  let bits = bitcast<U>(x);
  return bitcast<F>(select(bitcast<U>(y), bits, (bits & U(0x7fffffffu)) > U(0x7f800000u)));
}
fn instead(y: F, bits: u32, condition: B) -> F {
  return bitcast<F>(select(bitcast<U>(y), U(bits), condition));
}
// Compilers may turn x + k·a + k·b into x + k·(a + b), and do; but not through a bound, which no value
// here comes near.
fn apart(x: F) -> F {
  return clamp(x, F(-1e9), F(1e9));
}
fn withSign(size: F, x: F) -> F {
  return bitcast<F>(bitcast<U>(size) | (bitcast<U>(x) & U(0x80000000u)));
}
`;

const FUNCTIONS: Readonly<Record<MathFunction, FunctionText>> = {
  exponential: {
    needs: [],
    // x = k·log 2 + r; the upper part of log 2 has 9 bits, so that its product with k is exact.
    text: `
fn exponential(x: F) -> F {
  let bounded = clamp(x, F(-104.0), F(89.0));
  let k = round(bounded * 1.44269504);
  let near = apart(fma(k, F(-0.693359375), bounded));
  let r = fma(k, F(0.000212194440), near);
  var p = fma(F(0.001381455921), r, F(0.008368735202));
  p = fma(p, r, F(0.04166838899));
  p = fma(p, r, F(0.1666652113));
  p = fma(p, r, F(0.4999999404));
  let mantissa = 1.0 + fma(p, r * r, r);
  // Two factors: one alone would leave the exponents that a float has.
  let exponent = I(k);
  let half = exponent >> U(1u);
  let first = bitcast<F>((half + 127) << U(23u));
  let second = bitcast<F>((exponent - half + 127) << U(23u));
  return unlessNaN(x, instead(mantissa * first * second, 0x7f800000u, x > F(88.72284)));
}`,
  },
  logarithm: {
    needs: [],
    text: `
// log(1 + f) for 1 + f from √½ to √2, and a multiple of log 2.
fn logarithmOf(f: F, exponent: F) -> F {
  let z = f * f;
  var p = fma(F(0.06746591628), f, F(-0.1167563871));
  p = fma(p, f, F(0.1188817769));
  p = fma(p, f, F(-0.124055922));
  p = fma(p, f, F(0.1421955079));
  p = fma(p, f, F(-0.1666799635));
  p = fma(p, f, F(0.2000211924));
  p = fma(p, f, F(-0.2500000894));
  p = fma(p, f, F(0.3333331347));
  var y = fma(f * z, p, exponent * -0.000212194440);
  y = fma(F(-0.5), z, y);
  return fma(exponent, F(0.693359375), f + y);
}
fn logarithm(x: F) -> F {
  let bits = bitcast<U>(x);
  // Subnormal numbers are normalised as integers.
  let shift = select(U(0u), countLeadingZeros(bits) - 8u, bits < U(0x00800000u));
  let normal = bits << shift;
  // So many steps of 2^23 that the mantissa is from √½ to √2.
  let steps = (normal - U(0x3f3504f3u)) & U(0xff800000u);
  let mantissa = bitcast<F>(normal - steps);
  let exponent = F((bitcast<I>(steps) >> U(23u)) - bitcast<I>(shift));
  var y = logarithmOf(mantissa - 1.0, exponent);
  y = instead(y, 0x7f800000u, bits == U(0x7f800000u));
  y = instead(y, 0x7fc00000u, bits > U(0x80000000u));
  y = instead(y, 0xff800000u, (bits & U(0x7fffffffu)) == U(0u));
  return unlessNaN(x, y);
}`,
  },
  logarithm1p: {
    needs: ["logarithm"],
    // Near 0 the sum 1 + x would lose what makes the result; away from it the loss is a rounding.
    text: `
fn logarithm1p(x: F) -> F {
  let near = (x > F(-0.2928)) & (x < F(0.4142));
  let far = logarithm(1.0 + x);
  return unlessNaN(x, select(far, logarithmOf(select(F(0.0), x, near), F(0.0)), near));
}`,
  },
  hyperbolicTangent: {
    needs: ["exponential"],
    text: `
fn hyperbolicTangent(x: F) -> F {
  let size = abs(x);
  let s = x * x;
  var p = fma(F(-0.005515167955), s, F(0.02046942338));
  p = fma(p, s, F(-0.05368802324));
  p = fma(p, s, F(0.1333083063));
  p = fma(p, s, F(-0.3333325982));
  let near = fma(size * s, p, size);
  let far = 1.0 - 2.0 / (exponential(2.0 * min(size, F(10.0))) + 1.0);
  return unlessNaN(x, withSign(select(far, near, size < F(0.625)), x));
}`,
  },
  errorFunction: {
    needs: ["exponential"],
    // Away from 0: 1 − exp of a fit of log(1 − erf).
    text: `
fn errorFunction(x: F) -> F {
  let size = abs(x);
  let s = x * x;
  var p = fma(F(-0.0005862115067), s, F(0.004967514891));
  p = fma(p, s, F(-0.02674887143));
  p = fma(p, s, F(0.112813212));
  p = fma(p, s, F(-0.3761244714));
  p = fma(p, s, F(0.1283791363));
  let near = fma(p, size, size);
  let t = min(size, F(4.0));
  var q = fma(F(-1.043291923e-5), t, F(0.0003148562682));
  q = fma(q, t, F(-0.003610334825));
  q = fma(q, t, F(0.02369455248));
  q = fma(q, t, F(-0.1061590314));
  q = fma(q, t, F(-0.6351980567));
  q = fma(q, t, F(-1.128637075));
  let far = 1.0 - exponential(q * t);
  return unlessNaN(x, withSign(select(far, near, size < F(0.92)), x));
}`,
  },
  logistic: {
    needs: ["exponential"],
    text: `
fn logistic(x: F) -> F {
  let z = exponential(-abs(x));
  let right = 1.0 / (1.0 + z);
  return unlessNaN(x, select(right, z * right, x < F(0.0)));
}`,
  },
  softplus: {
    needs: ["exponential", "logarithm1p"],
    text: `
fn softplus(x: F) -> F {
  return unlessNaN(x, max(x, F(0.0)) + logarithm1p(exponential(-abs(x))));
}`,
  },
  sine: {
    needs: ["cosine"],
    text: `
fn sine(x: F) -> F {
  return circular(x, 0u);
}`,
  },
  cosine: {
    needs: [],
    // π/2 in four parts; the first three have 8 bits, so that their products with k are exact while k
    // has 16: up to |x| = 10^5. Beyond, the error grows with x.
    text: `
fn circular(x: F, turns: u32) -> F {
  let k = round(x * 0.636619772);
  var r = apart(fma(k, F(-1.5703125), x));
  r = apart(fma(k, F(-0.0004825592041015625), r));
  r = apart(fma(k, F(-1.2665987014770508e-6), r));
  r = fma(k, F(-9.92093629470503e-10), r);
  r = clamp(r, F(-1.0), F(1.0));
  let quadrant = bitcast<U>(I(clamp(k, F(-1e9), F(1e9)))) + U(turns);
  let s = r * r;
  var p = fma(F(2.717160214e-6), s, F(-0.0001983921102));
  p = fma(p, s, F(0.008333329111));
  p = fma(p, s, F(-0.1666666716));
  let odd = fma(r * s, p, r);
  var q = fma(F(2.442362529e-5), s, F(-0.00138872338));
  q = fma(q, s, F(0.04166664556));
  let even = fma(s * s, q, fma(F(-0.5), s, F(1.0)));
  let size = select(odd, even, (quadrant & U(1u)) == U(1u));
  let signed = bitcast<F>(bitcast<U>(size) ^ ((quadrant & U(2u)) << U(30u)));
  let infinite = (bitcast<U>(x) & U(0x7fffffffu)) == U(0x7f800000u);
  return unlessNaN(x, instead(signed, 0x7fc00000u, infinite));
}
fn cosine(x: F) -> F {
  return circular(x, 1u);
}`,
  },
  power: {
    needs: ["exponential", "logarithm"],
    // Below 0 where b is whole: the sign is that of an odd power. Whatever is not defined is NaN.
    text: `
fn power(a: F, b: F) -> F {
  let size = abs(a);
  let whole = floor(b) == b;
  let odd = whole & (abs(b) < F(16777216.0)) & (fract(b * 0.5) != F(0.0));
  var y = exponential(b * logarithm(size));
  y = select(y, size, b == F(1.0));
  y = select(y, size * size, b == F(2.0));
  y = select(y, F(1.0), size == F(1.0));
  y = select(y, F(0.0), (size == F(0.0)) & (b > F(0.0)));
  y = instead(y, 0x7f800000u, (size == F(0.0)) & (b < F(0.0)));
  let negative = bitcast<U>(a) > U(0x80000000u);
  y = select(y, -y, negative & odd);
  y = instead(y, 0x7fc00000u, negative & !whole);
  return select(unlessNaN(b, unlessNaN(a, y)), F(1.0), b == F(0.0));
}`,
  },
};
