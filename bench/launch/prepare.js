import { mkdir } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { root } from "../../tools/process.js";
import { adapterEnvironment } from "./adapter.js";
import { bundle, folder, linkWebGpu } from "./bundle.js";
import { installPeers } from "./peers.js";
import { programs, usual } from "./programs.js";

/**
 * A program that is ready to run.
 *
 * @typedef {{ file: string, options: string[], environment: Record<string, string> }} Prepared `file`
 *   as seen from the workspace's folder
 */

/**
 * Gets benchmarks ready: bundles them, installs their peers, finds their adapter.
 *
 * @param {readonly string[]} rest `[NAME [OPTION …]]`; all of the usual ones without a name
 * @param {NodeJS.ProcessEnv} environment for npm
 * @returns {Promise<Prepared[]>}
 */
export async function prepare([name, ...options], environment) {
  const names = name === undefined ? usual : [name];
  const ready = [];
  for (const one of names) {
    const prepared = await prepareOne(one, options, environment);
    if (prepared !== undefined) ready.push(prepared);
  }
  return ready;
}

/**
 * @param {string} name
 * @param {readonly string[]} given
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Promise<Prepared | undefined>} nothing where the bundle was all that was wanted
 */
async function prepareOne(name, given, environment) {
  const program = Object.hasOwn(programs, name) ? programs[name] : undefined;
  if (program === undefined) {
    const known = Object.keys(programs).join(", ");
    throw new Error(`there is no benchmark "${name}"; there are: ${known} (see bench/README.md)`);
  }
  const { rest: some, value: target } = taken(given, "--bundle");
  const { rest: options, value: adapter } = taken(some, "--adapter");
  const file = target === undefined ? join(folder, "dist", `${name}.mjs`) : resolve(target);
  if (target !== undefined && !program.selfContained) {
    throw new Error(`the benchmark ${name} cannot be carried away: only gpu can`);
  }
  await mkdir(dirname(file), { recursive: true });
  await bundle(program.file, file, program.selfContained ?? false);
  if (target !== undefined) {
    process.stderr.write(`written: ${file}\n`);
    return undefined;
  }
  if (program.selfContained) await linkWebGpu(dirname(file));
  if (program.peers && !options.includes("--no-peers")) await installPeers(environment);
  const needsGpu = program.gpu?.(options) ?? false;
  if (!needsGpu && adapter !== undefined) throw new Error("--adapter is for WebGPU alone");
  return {
    file: relative(root, file),
    options,
    environment: needsGpu ? await adapterEnvironment(adapter) : {},
  };
}

/**
 * Takes an option that is not the program's out of its arguments.
 *
 * @param {readonly string[]} given
 * @param {string} option
 * @returns {{ rest: string[], value: string | undefined }}
 */
function taken(given, option) {
  /** @type {string[]} */
  const rest = [];
  let value;
  for (let index = 0; index < given.length; index++) {
    const word = given[index] ?? "";
    if (word === option) {
      value = given[++index];
      if (value === undefined) throw new Error(`${option} needs a value`);
    } else if (word.startsWith(`${option}=`)) value = word.slice(option.length + 1);
    else rest.push(word);
  }
  return { rest, value };
}
