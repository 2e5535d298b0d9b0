/** @typedef {import("./random.js").Random} Random */

/** Lengths of headers that are out of the way. */
const LENGTHS = [0n, 1n, 2n, 7n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/**
 * Changes of bytes, whatever they mean.
 *
 * @type {readonly ((bytes: Uint8Array, random: Random) => Uint8Array)[]}
 */
const CHANGES = [
  // One bit.
  (bytes, random) =>
    edit(bytes, random, (copy, at) =>
      copy.fill((copy[at] ?? 0) ^ (1 << random.below(8)), at, at + 1),
    ),
  // One byte.
  (bytes, random) => edit(bytes, random, (copy, at) => copy.fill(random.below(256), at, at + 1)),
  // A stretch of one value: zeros, ones, scales that are NaN.
  (bytes, random) =>
    edit(bytes, random, (copy, at) =>
      copy.fill(random.pick([0, 0xff, 0x7f, 0x20]), at, at + 1 + random.below(64)),
    ),
  // Cut short.
  (bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
  // Longer.
  (bytes, random) => join(bytes, new Uint8Array(1 + random.below(100)).fill(random.below(256))),
  // Something in between.
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    const more = new Uint8Array(1 + random.below(9)).fill(random.below(256));
    return join(join(bytes.slice(0, at), more), bytes.slice(at));
  },
  // Something missing.
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return join(bytes.slice(0, at), bytes.slice(at + 1 + random.below(9)));
  },
  // A stretch that stands twice.
  (bytes, random) => {
    const [from, at] = [random.below(bytes.length + 1), random.below(bytes.length + 1)];
    const copy = bytes.slice(from, from + random.below(64));
    return join(join(bytes.slice(0, at), copy), bytes.slice(at));
  },
  // Another length of the header.
  (bytes, random) => {
    const copy = bytes.slice();
    if (copy.length < 8) return copy;
    const view = new DataView(copy.buffer);
    const near = BigInt.asUintN(64, view.getBigUint64(0, true) + BigInt(random.below(17) - 8));
    view.setBigUint64(0, random.below(2) === 0 ? near : random.pick(LENGTHS), true);
    return copy;
  },
];

/**
 * Bytes with one thing changed.
 *
 * @param {Uint8Array} bytes
 * @param {Random} random
 * @returns {Uint8Array}
 */
export function mutateBytes(bytes, random) {
  return random.pick(CHANGES)(bytes, random);
}

/**
 * @param {Uint8Array} bytes
 * @param {Random} random
 * @param {(copy: Uint8Array, at: number) => void} change
 */
function edit(bytes, random, change) {
  const copy = bytes.slice();
  if (copy.length > 0) change(copy, random.below(copy.length));
  return copy;
}

/**
 * @param {Uint8Array} first
 * @param {Uint8Array} second
 */
function join(first, second) {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
