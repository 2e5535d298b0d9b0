import { type RandomKey, hostNormal } from "@moiety/core";
import type { Kernel } from "./kernel.ts";

/**
 * Threefry 2×32 with 20 rounds, from the paper's description (Salmon et al., SC11): add, rotate,
 * exclusive or; every four rounds the next two words of the key are added, and the number of the
 * addition.
 */
function threefry(key: RandomKey, counter: number): readonly [number, number] {
  const words = [key[0], key[1], (0x1bd11bda ^ key[0] ^ key[1]) >>> 0];
  const keyWord = (index: number): number => words[index % 3] ?? 0;
  const rotations = [13, 15, 26, 6, 17, 29, 16, 24];
  const add = (a: number, b: number): number => (a + b) % 2 ** 32;
  let a = add(counter, keyWord(0));
  let b = add(0, keyWord(1));
  for (let round = 0; round < 20; round++) {
    a = add(a, b);
    const left = rotations[round % 8] ?? 0;
    b = (((b << left) | (b >>> (32 - left))) ^ a) >>> 0;
    if (round % 4 !== 3) continue;
    const addition = (round + 1) / 4;
    a = add(a, keyWord(addition));
    b = add(add(b, keyWord(addition + 1)), addition);
  }
  return [a, b];
}

function wordsOf(key: RandomKey, count: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    const block = threefry(key, Math.floor(index / 2));
    return index % 2 === 0 ? block[0] : block[1];
  });
}

/** A kernel that draws numbers by a key. */
function drawing(
  draw: (key: RandomKey, count: number) => ArrayLike<number>,
  boundOf: (value: number) => number,
): Kernel {
  return (call) => {
    const { key } = call.attributes<{ key: RandomKey }>();
    const y = call.result();
    const drawn = draw(key, y.values.length);
    for (let at = 0; at < drawn.length; at++) {
      const value = call.precision.kept(call.spec(0).dtype, drawn[at] ?? 0);
      y.set(at, value, boundOf(value));
    }
    return [y];
  };
}

/** u32 words. */
export const randomBits: Kernel = /*#__PURE__*/ drawing(wordsOf, () => 0);

/** Uniform numbers in [0, 1) of 24 bits: every float holds them. */
export const uniform: Kernel = /*#__PURE__*/ drawing(
  (key, count) => wordsOf(key, count).map((word) => Math.floor(word / 2 ** 8) / 2 ** 24),
  () => 0,
);

/**
 * Standard normal numbers. `hostNormal` is their definition. A backend evaluates its quotient of
 * polynomials in f32, whose terms cancel to about a tenth, with the logarithm of the device in the
 * tails: 2·10⁻⁶ of 1 + |y| is some 30 units.
 */
export const normal: Kernel = /*#__PURE__*/ drawing(
  hostNormal,
  (value) => 2e-6 * (1 + Math.abs(value)),
);
