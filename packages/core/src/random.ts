import { ConfigError } from "./errors.ts";

/**
 * A key of the random numbers: two u32. Draws depend on the key alone, so whoever wants other
 * numbers derives another key with {@link foldIn} or {@link splitKey}.
 */
export type RandomKey = readonly [number, number];

/** The second counter word: it keeps draws, folded keys and split keys apart. */
const DRAW = 0;
const FOLD = 1;
const SPLIT = 2;

const PARITY = 0x1bd11bda;
const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const;

/**
 * One block of Threefry 2×32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC11). Key and counter are two u32 each.
 */
export function threefry2x32(key: RandomKey, counter: readonly [number, number]): RandomKey {
  const schedule = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
  let left = (counter[0] + key[0]) | 0;
  let right = (counter[1] + key[1]) | 0;
  for (let group = 0; group < 5; group++) {
    for (const rotation of ROTATIONS[(group & 1) as 0 | 1]) {
      left = (left + right) | 0;
      right = ((right << rotation) | (right >>> (32 - rotation))) ^ left;
    }
    left = (left + (schedule[(group + 1) % 3] ?? 0)) | 0;
    right = (right + (schedule[(group + 2) % 3] ?? 0) + group + 1) | 0;
  }
  return [left >>> 0, right >>> 0];
}

/** The key of a seed. @throws ConfigError unless the seed is a whole number from 0 to 2⁵³ − 1 */
export function randomKey(seed: number): RandomKey {
  requireWhole("seed", seed, Number.MAX_SAFE_INTEGER);
  return [Math.floor(seed / 2 ** 32), seed >>> 0];
}

/** Another key for each number, such as a step or a layer. @throws ConfigError unless it is a u32 */
export function foldIn(key: RandomKey, number: number): RandomKey {
  requireWhole("number", number, 2 ** 32 - 1);
  return threefry2x32(key, [number, FOLD]);
}

/** `count` keys of which none repeats the other or the parent's draws. @throws ConfigError */
export function splitKey(key: RandomKey, count: number): RandomKey[] {
  requireWhole("count", count, 2 ** 32 - 1);
  return Array.from({ length: count }, (_, index) => threefry2x32(key, [index, SPLIT]));
}

/** `count` u32 words: word `i mod 2` of block ⌊i/2⌋. What the op `randomBits` gives. */
export function hostBits(key: RandomKey, count: number): Uint32Array {
  requireWhole("count", count, 2 ** 32 - 1);
  const bits = new Uint32Array(count);
  for (let index = 0; index < count; index += 2) {
    const block = threefry2x32(key, [index / 2, DRAW]);
    bits[index] = block[0];
    if (index + 1 < count) bits[index + 1] = block[1];
  }
  return bits;
}

/** `count` numbers in [0, 1) with 24 bits each. What the op `uniform` gives. */
export function hostUniform(key: RandomKey, count: number): Float64Array {
  return Float64Array.from(hostBits(key, count), (word) => (word >>> 8) * 2 ** -24);
}

/**
 * `count` standard normal numbers: the normal quantile at `((bits >>> 8) + ½) · 2⁻²⁴`. Only
 * operations that IEEE 754 rounds exactly are used, so every JavaScript engine gives the same bits.
 */
export function hostNormal(key: RandomKey, count: number): Float64Array {
  return Float64Array.from(hostBits(key, count), (word) =>
    normalQuantile(((word >>> 8) + 0.5) * 2 ** -24),
  );
}

/**
 * Inverse of the normal distribution function for 2⁻²⁵ ≤ p ≤ 1 − 2⁻²⁵: algorithm AS 241, PPND7
 * (Wichura, Applied Statistics 37, 1988), relative error about 1e-7, a unit in float32's last place;
 * its third branch is for p below 1.4e-11 and left out.
 */
function normalQuantile(p: number): number {
  const centred = p - 0.5;
  if (Math.abs(centred) <= 0.425) {
    return centred * ratio(0.180625 - centred * centred, CENTRE);
  }
  const tail = Math.sqrt(-naturalLogarithm(centred < 0 ? p : 1 - p));
  const size = ratio(tail - 1.6, TAIL);
  return centred < 0 ? -size : size;
}

type Coefficients = readonly [numerator: readonly number[], denominator: readonly number[]];

/** AS 241's tables for float32, highest power first. */
const CENTRE: Coefficients = [
  [59.10937472, 159.29113202, 50.434271938, 3.3871327179],
  [67.1875636, 78.757757664, 17.895169469, 1],
];
const TAIL: Coefficients = [
  [0.17023821103, 1.3067284816, 2.75681539, 1.4234372777],
  [0.12021132975, 0.7370016425, 1],
];

function ratio(x: number, [numerator, denominator]: Coefficients): number {
  const horner = (coefficients: readonly number[]): number =>
    coefficients.reduce((value, coefficient) => value * x + coefficient, 0);
  return horner(numerator) / horner(denominator);
}

/** log x for 0 < x ≤ 1. `Math.log` may differ between engines in the last bit. */
function naturalLogarithm(x: number): number {
  let mantissa = x;
  let exponent = 0;
  // Doubling is exact.
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2;
    exponent--;
  }
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let series = 0;
  for (let power = 23; power >= 1; power -= 2) series = series * square + 1 / power;
  return exponent * Math.LN2 + 2 * s * series;
}

function requireWhole(key: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new ConfigError(
    `${key} is ${value}, but must be a whole number from 0 to ${most}`,
    key,
    value,
  );
}
