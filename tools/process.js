import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the workspace. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a program to its end.
 *
 * @param {string} command
 * @param {readonly string[]} parameters
 * @param {{ folder?: string, shell?: boolean }} [settings]
 * @returns {Promise<{ code: number, output: string }>} both streams in one, in the order of arrival
 */
export function run(command, parameters, { folder = root, shell = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, {
      cwd: folder,
      shell,
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined },
      stdio: ["ignore", "pipe", "pipe"],
    });
    /** @type {Buffer[]} */
    const chunks = [];
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.stderr.on("data", (chunk) => chunks.push(chunk));
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString("utf8") });
    });
  });
}

/**
 * Runs a program of the root's `node_modules` in this Node, as a part of the check.
 *
 * @param {string} file path below `node_modules`
 * @param {readonly string[]} parameters
 * @param {string} [folder]
 * @returns {Promise<string[]>} nothing when it passed, else what it said
 */
export async function runTool(file, parameters, folder = root) {
  const path = join(root, "node_modules", file);
  return outcome(file, await run(process.execPath, [path, ...parameters], { folder }));
}

/**
 * @param {string} name
 * @param {{ code: number, output: string }} result
 * @returns {string[]} nothing when the program passed, else what it said
 */
export function outcome(name, { code, output }) {
  if (code === 0) return [];
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  return lines.length > 0 ? lines : [`${name} ended with exit code ${code}`];
}
