import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { folder } from "./bundle.js";

const stampFile = join(folder, "node_modules/.moiety-stamp");

/**
 * Installs what is measured beside us, once for each state of the lockfile.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @throws Error where the install fails
 */
export async function installPeers(environment) {
  const stamp = createHash("sha256")
    .update(`${process.platform}-${process.arch}\n`)
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  rmSync(stampFile, { force: true });
  process.stderr.write("installing the peers of the benchmarks (about 550 MB, once) …\n");
  const code = await npm(["ci", "--prefer-offline", "--fetch-retries=1"], environment);
  if (code !== 0) {
    throw new Error(
      `the peers could not be installed (npm ci in bench/ ended with exit code ${code}). They come ` +
        "from npm's registry: run this again where that is in reach, or measure without them: " +
        "--no-peers",
    );
  }
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  writeFileSync(stampFile, stamp);
}

/**
 * @param {readonly string[]} parameters
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Promise<number>}
 */
function npm(parameters, environment) {
  const program = environment["npm_execpath"] ?? process.env["npm_execpath"] ?? "";
  const direct = basename(program) === "npm-cli.js";
  return new Promise((resolve, reject) => {
    const [command, ...first] = direct ? [process.execPath, program] : ["npm"];
    const child = spawn(/** @type {string} */ (command), [...first, ...parameters], {
      cwd: folder,
      env: environment,
      // What npm says goes to stderr: stdout is for figures.
      stdio: ["ignore", 2, 2],
      shell: !direct && process.platform === "win32",
    });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
