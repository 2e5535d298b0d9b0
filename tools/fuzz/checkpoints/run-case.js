import { CheckpointMismatchError, openFolder, toHost } from "@moiety/checkpoints";
import { ConfigError, FormatError, MoietyError } from "@moiety/core";
import { checkModel } from "./check-model.js";
import { memoryFolder } from "./memory-folder.js";
import { readFolder, valuesOf } from "./minimal-reader.js";
import { mutate } from "./mutate.js";
import { Random } from "./random.js";
import { watchAllocations } from "./watch.js";

/** @typedef {import("./minimal-reader.js").Files} Files */
/** @typedef {import("@moiety/checkpoints").Checkpoint} Checkpoint */
/** @typedef {import("@moiety/core").Backend} Backend */

/** A byte of a file becomes at most eight of a float64, and JSON takes some more. */
const GROWTH = 16;
const SLACK_BYTES = 2 ** 20;
/** A case takes a few milliseconds; one that takes so long hangs, or nearly. */
const SLOWEST_MS = 5000;

/**
 * Damages one of the folders by a seed, and reads it. Gives what came of it: the class of the error, or
 * `same` where all that was read equals what the minimal reader gets.
 *
 * Throws where anything else came of it.
 *
 * @param {readonly Files[]} samples
 * @param {number} seed
 * @param {Backend} backend
 * @returns {Promise<string>}
 */
export async function runCase(samples, seed, backend) {
  const random = new Random(seed);
  const files = mutate(random.pick(samples), random);
  const isModel = random.below(3) === 0;
  return runFolder(files, backend, isModel);
}

/**
 * @param {Files} files
 * @param {Backend} backend
 * @param {boolean} isModel whether it is loaded as a model, not only read
 * @returns {Promise<string>}
 */
export async function runFolder(files, backend, isModel) {
  const total = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
  const folder = memoryFolder(files);
  const { liveBuffers } = backend.statistics();
  const begin = performance.now();
  const watch = watchAllocations(GROWTH * total + SLACK_BYTES);
  let outcome;
  try {
    outcome = await tryFolder(folder, files, backend, isModel);
  } finally {
    watch.stop();
  }
  const elapsed = performance.now() - begin;
  if (elapsed > SLOWEST_MS) throw new Error(`it took ${elapsed.toFixed(0)} ms`);
  if (folder.faults.length > 0) throw new Error(folder.faults.join("; "));
  if (folder.opened > 0) throw new Error(`${folder.opened} files were left open`);
  const left = backend.statistics().liveBuffers - liveBuffers;
  if (left > 0) throw new Error(`${left} buffers were left on the backend`);
  return outcome;
}

/**
 * @param {import("@moiety/checkpoints").FileFolder} folder
 * @param {Files} files
 * @param {Backend} backend
 * @param {boolean} isModel
 * @returns {Promise<string>}
 */
async function tryFolder(folder, files, backend, isModel) {
  /** @type {Checkpoint | undefined} */
  let checkpoint;
  try {
    checkpoint = await openFolder(folder);
    await (isModel ? checkModel(checkpoint, files, backend) : checkTensors(checkpoint, files));
    return "same";
  } catch (error) {
    return nameOf(error, files);
  } finally {
    await checkpoint?.close();
  }
}

/**
 * Compares every tensor with what the minimal reader gets: its bytes, and its values where they can be
 * read. Those that cannot are refused by name.
 *
 * @param {Checkpoint} checkpoint
 * @param {Files} files
 */
async function checkTensors(checkpoint, files) {
  const plain = readFolder(files);
  assert(plain.size === checkpoint.tensors.size, "there are other tensors");
  for (const [name, tensor] of plain) {
    const { dtype, shape, bytes } = await checkpoint.read(name);
    assert(dtype === tensor.dtype, `${name} is of another dtype`);
    assert(String(shape) === String(tensor.shape), `${name} is of another shape`);
    assert(Buffer.compare(bytes, tensor.bytes) === 0, `${name} has other bytes`);
    const isFloat = dtype.startsWith("F") || dtype === "BF16";
    const values = toHost({ name, dtype, shape, bytes }, isFloat ? "f64" : "i32").data;
    const expected = valuesOf(tensor);
    assert(
      values.length === expected.length &&
        expected.every((value, index) => Object.is(values[index], value)),
      `${name} has other values`,
    );
  }
}

/**
 * @param {boolean} holds
 * @param {string} what
 */
function assert(holds, what) {
  if (!holds) throw new Error(what);
}

/**
 * What an error is called, where it is one of the library's that says what is wrong and where. Any other
 * is thrown again.
 *
 * @param {unknown} error
 * @param {Files} files
 */
function nameOf(error, files) {
  if (!(error instanceof MoietyError)) throw error;
  const { message, name } = error;
  if (error instanceof CheckpointMismatchError) return "CheckpointMismatchError";
  if (error instanceof FormatError) {
    const longest = Math.max(0, ...[...files.values()].map(({ length }) => length));
    const { offset } = error;
    assert(Number.isSafeInteger(offset) && offset >= 0, `no offset: ${message}`);
    assert(offset <= longest, `the offset ${offset} is in no file: ${message}`);
    const hasName = /folder\/|tensor "/.test(message);
    assert(hasName, `neither file nor tensor: ${message}`);
  } else {
    // Else a key of a configuration, a file, or a tensor is named.
    const hasKey = error instanceof ConfigError && error.key !== "";
    const hasPlace = /^folder |folder\/|tensor "|config\.json|\b[a-z]+_[a-z_]+\b/.test(message);
    assert(hasKey || hasPlace, `where? ${message}`);
  }
  return name;
}
