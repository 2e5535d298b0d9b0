import { mutateBytes } from "./mutate-bytes.js";
import { mutateJson } from "./mutate-json.js";

/** @typedef {import("./random.js").Random} Random */
/** @typedef {import("./minimal-reader.js").Files} Files */

const MOST_CHANGES = 3;
const LENGTH_BYTES = 8;

/**
 * A folder with one to three things changed in its files.
 *
 * @param {Files} files
 * @param {Random} random
 * @returns {Map<string, Uint8Array>}
 */
export function mutate(files, random) {
  const changed = new Map(files);
  for (let left = 1 + random.below(MOST_CHANGES); left > 0; left--) {
    const names = [...changed.keys()];
    if (names.length === 0) break;
    const name = random.pick(names);
    const bytes = changed.get(name) ?? new Uint8Array();
    if (random.below(40) === 0) changed.delete(name);
    else if (random.below(60) === 0) {
      changed.set(name, changed.get(random.pick(names)) ?? bytes);
    } else if (random.below(3) === 0) changed.set(name, mutateBytes(bytes, random));
    else if (name.endsWith(".json")) changed.set(name, mutateJson(bytes, random));
    else changed.set(name, mutateHeader(bytes, random));
  }
  return changed;
}

/**
 * A file of tensors with its header's JSON changed, and mostly its length put right.
 *
 * @param {Uint8Array} file
 * @param {Random} random
 */
function mutateHeader(file, random) {
  if (file.length < LENGTH_BYTES) return mutateBytes(file, random);
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const length = Number(view.getBigUint64(0, true));
  const end = Math.min(LENGTH_BYTES + length, file.length);
  const header = mutateJson(file.slice(LENGTH_BYTES, end), random);
  const rest = file.subarray(end);
  const whole = new Uint8Array(LENGTH_BYTES + header.length + rest.length);
  const claimed = random.below(10) === 0 ? length : header.length;
  new DataView(whole.buffer).setBigUint64(0, BigInt(claimed), true);
  whole.set(header, LENGTH_BYTES);
  whole.set(rest, LENGTH_BYTES + header.length);
  return whole;
}
