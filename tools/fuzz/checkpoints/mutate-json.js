import { mutateBytes } from "./mutate-bytes.js";

/** @typedef {import("./random.js").Random} Random */

/** Deeper than any stack. */
const DEEP = 20_000;
const HUGE = [2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e18, 1e300];

/**
 * What may stand where something else belongs, as JSON or as what only looks like it.
 *
 * @type {readonly string[]}
 */
const STRANGERS = [
  "null",
  "true",
  "{}",
  "[]",
  '""',
  '"x"',
  "0",
  "-1",
  "-0",
  "1.5",
  "1e400",
  "9007199254740993",
  "NaN",
  "Infinity",
  "1".repeat(1200),
  '"\\ud800"',
  '"\\u0000"',
  '{"__proto__":{"a":1}}',
  "[4294967296,4294967296]",
  "[2147483648,2147483648,2]",
  "[0,18446744073709551615]",
  "[1.0]",
  "[-1]",
  "[[1]]",
  `${"[".repeat(DEEP)}${"]".repeat(DEEP)}`,
  `${'{"a":'.repeat(DEEP)}1${"}".repeat(DEEP)}`,
  ...HUGE.map(String),
];
const DTYPES = ["F32", "F64", "F16", "BF16", "I8", "U8", "I64", "BOOL", "F8_E4M3", "F8_E5M2"];
const UNKNOWN_DTYPES = ["F4", "F6_E2M3", "F8_E8M0", "F8_E4M3FNUZ", "C64", "f32", "", "F32 "];
const PATHS = [
  "../config.json",
  "/etc/passwd",
  "a/b.safetensors",
  "..\\model.safetensors",
  "C:model.safetensors",
  "..",
  ".",
  "",
  "model.safetensors\0",
  "config.json",
  "none.safetensors",
];

/**
 * A JSON file with one thing changed; one that is no JSON any more gets other bytes.
 *
 * @param {Uint8Array} bytes
 * @param {Random} random
 * @returns {Uint8Array}
 */
export function mutateJson(bytes, random) {
  // One that was made too deep before is so for this program, too.
  if (bytes.length > DEEP) return mutateBytes(bytes, random);
  let root;
  try {
    root = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return mutateBytes(bytes, random);
  }
  if (typeof root !== "object" || root === null) return mutateBytes(bytes, random);
  /** @type {Map<object, Map<string, string>>} */
  const replaced = new Map();
  const text = change(root, random, replaced) ?? write(root, replaced);
  return new TextEncoder().encode(text);
}

/**
 * Changes something inside, or gives a whole other text.
 *
 * @param {object} root
 * @param {Random} random
 * @param {Map<object, Map<string, string>>} replaced
 * @returns {string | undefined}
 */
function change(root, random, replaced) {
  const holders = holdersIn(root).filter((holder) => Object.keys(holder).length > 0);
  if (holders.length === 0) return random.pick(STRANGERS);
  const holder = random.pick(holders);
  const key = random.pick(Object.keys(holder));
  const value = holder[key];
  /** @param {string} raw */
  const put = (raw) => void replaced.set(holder, new Map([[key, raw]]));
  switch (random.below(9)) {
    case 0:
      delete holder[key];
      return undefined;
    case 1:
      return void put(random.pick(STRANGERS));
    case 2:
      // The same key twice, with the same value or another.
      return void put(
        `${write(value, replaced)},${JSON.stringify(key)}:${random.pick(["1", write(value, replaced)])}`,
      );
    case 3: {
      // Two values change places.
      const other = random.pick(holders);
      const otherKey = random.pick(Object.keys(other));
      [holder[key], other[otherKey]] = [other[otherKey], value];
      // What now holds itself has no text.
      return hasCircle(root) ? "{}" : undefined;
    }
    case 4:
      holder[random.pick(["dtype", "x", "__metadata__", "__proto__ ", "shape"])] = value;
      return hasCircle(root) ? "{}" : undefined;
    default:
      return void put(sensible(value, random));
  }
}

/**
 * Something of the same kind as a value.
 *
 * @param {unknown} value
 * @param {Random} random
 */
function sensible(value, random) {
  if (typeof value === "number") {
    const near = [value + 1, value - 1, value * 2, -value, value + 0.5, 0, value + 8];
    return String(random.pick([...near, ...HUGE]));
  }
  if (typeof value === "string") {
    return JSON.stringify(random.pick([...DTYPES, ...UNKNOWN_DTYPES, ...PATHS, `${value}x`]));
  }
  if (typeof value === "boolean") return String(!value);
  if (Array.isArray(value)) {
    const lists = [value.toReversed(), [...value, 1], value.slice(1), [...value, ...value]];
    return JSON.stringify(random.pick(lists));
  }
  return random.pick(STRANGERS);
}

/**
 * Every object and list in a value, itself among them.
 *
 * @param {object} root
 * @returns {Record<string, unknown>[]}
 */
function holdersIn(root) {
  const inside = Object.values(root).filter((value) => typeof value === "object" && value !== null);
  return [/** @type {Record<string, unknown>} */ (root), ...inside.flatMap(holdersIn)];
}

/**
 * @param {unknown} value
 * @param {readonly unknown[]} above
 * @returns {boolean}
 */
function hasCircle(value, above = []) {
  if (typeof value !== "object" || value === null) return false;
  if (above.includes(value)) return true;
  return Object.values(value).some((inside) => hasCircle(inside, [...above, value]));
}

/**
 * JSON, with texts of one's own in the place of some values.
 *
 * @param {unknown} value
 * @param {Map<object, Map<string, string>>} replaced
 * @returns {string}
 */
function write(value, replaced) {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const others = replaced.get(value);
  const parts = Object.entries(value).map(([key, inside]) => {
    const text = others?.get(key) ?? write(inside, replaced);
    return Array.isArray(value) ? text : `${JSON.stringify(key)}:${text}`;
  });
  return Array.isArray(value) ? `[${parts.join(",")}]` : `{${parts.join(",")}}`;
}
