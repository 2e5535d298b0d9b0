// Starts every task of this repository with nothing but Node and npm: installs when the lockfile
// has changed or an install was cut short, builds what is stale, then hands over to the task.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { constants, tmpdir } from "node:os";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const pnpmVersion = manifest.devEngines.packageManager.version;
const stampFile = join(root, "node_modules", ".run-stamp");
const environment = childEnvironment();

/**
 * Each task gets the arguments after its name and gives the exit code.
 *
 * @type {Record<string, (rest: string[]) => Promise<number>>}
 */
const tasks = {
  async start(rest) {
    await build();
    return moiety("npm start --", ["train", ...rest]);
  },
  async goldens(rest) {
    await build();
    return moiety("npm run goldens --", ["goldens", ...rest]);
  },
  async conform(rest) {
    await build();
    return moiety("npm run conform --", ["conform", ...rest]);
  },
  async moiety(rest) {
    await build();
    return moiety(`npm run moiety -- ${rest[0] ?? ""}`.trim(), rest);
  },
  async test(rest) {
    await build();
    return node("node_modules/vitest/vitest.mjs", ["run", ...rest], await withWebGpu(rest));
  },
  async bench(rest) {
    await build();
    for (const { file, options, environment: added } of await benchmarks(rest)) {
      const code = await node(file, options, { env: { ...environment, ...added } });
      if (code !== 0) return code;
    }
    return 0;
  },
  async fuzz(rest) {
    await build();
    return node("tools/fuzz/main.js", rest);
  },
  async check(rest) {
    return node("tools/check.js", rest);
  },
  async build(rest) {
    return turbo(["run", "build", ...rest]);
  },
  async docs(rest) {
    await build();
    const written = await node("tools/families/write.js", []);
    if (written !== 0) return written;
    const code = await node("tools/check.js", ["links"]);
    if (code !== 0) return code;
    return node("node_modules/typedoc/bin/typedoc", rest);
  },
  async lint(rest) {
    return node("tools/check.js", ["lint", ...rest]);
  },
  async types(rest) {
    return node("tools/check.js", ["types", ...rest]);
  },
  async format(rest) {
    return node("node_modules/oxfmt/bin/oxfmt", rest);
  },
  async changeset(rest) {
    return node("node_modules/@changesets/cli/bin.js", rest);
  },
};

/** @typedef {import("node:child_process").SpawnOptions & { onOutput?: (text: Buffer) => void }} Settings */

const [task = "", ...given] = process.argv.slice(2);
await main();

async function main() {
  checkNode();
  if (task === "pnpm") {
    // The way to change dependencies; whatever it did, the next task installs afresh.
    rmSync(stampFile, { force: true });
    process.exit(await pnpm(given));
  }
  if (!Object.hasOwn(tasks, task)) {
    fail(`unknown task "${task}"; there are: ${[...Object.keys(tasks), "pnpm"].join(", ")}`);
  }
  await install();
  process.exit((await tasks[task]?.(given)) ?? 1);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node ${process.versions.node} is too old: install Node 20.19 or newer`);
  }
}

/** The stamp is removed before an install and written after it: a killed install leaves none. */
async function install() {
  const stamp = createHash("sha256")
    .update(`${pnpmVersion}\n${process.platform}-${process.arch}\n`)
    .update(readFileSync(join(root, "pnpm-lock.yaml")))
    .digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  rmSync(stampFile, { force: true });
  console.error(`installing with pnpm ${pnpmVersion} …`);
  const code = await pnpm(["install", "--frozen-lockfile", "--prefer-offline"]);
  if (code !== 0) {
    console.error("the install failed; run the same command again once the cause above is gone");
    process.exit(code);
  }
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, stamp);
}

/** Says nothing when all is fresh, so that a program's own output stands alone. */
async function build() {
  const patience = setTimeout(() => console.error("building …"), 1500);
  let output = "";
  const code = await turbo(["run", "build", "--output-logs=errors-only"], {
    stdio: ["inherit", "pipe", "pipe"],
    onOutput: (text) => {
      output += text;
    },
  });
  clearTimeout(patience);
  if (code === 0) return;
  process.stderr.write(output);
  process.exit(code);
}

/**
 * The command line.
 *
 * @param {string} calledAs how it was called, up to the options of the command
 * @param {string[]} words
 */
async function moiety(calledAs, words) {
  // Benchmarks are a task of their own again, which looks for WebGPU by itself.
  const { env = environment } = words[0] === "bench" ? {} : await withWebGpu(words);
  const settings = { env: { ...env, MOIETY_CALLED_AS: calledAs } };
  return node("packages/cli/dist/main.js", words, settings);
}

/**
 * Settings with which the task's program finds WebGPU. The tool is loaded only here, since it needs
 * what the install brings.
 *
 * @param {string[]} rest
 * @returns {Promise<Settings>}
 */
async function withWebGpu(rest) {
  const { launchEnvironment } = await import("./tools/webgpu/launch.js");
  try {
    return { env: { ...environment, ...(await launchEnvironment(task, rest)) } };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Benchmarks, ready to run. Only here are their peers installed.
 *
 * @param {string[]} rest
 */
async function benchmarks(rest) {
  const { prepare } = await import("./bench/launch/prepare.js");
  try {
    return await prepare(rest, environment);
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/** @type {(options: string[], settings?: Settings) => Promise<number>} */
function turbo(options, settings) {
  return node("node_modules/turbo/bin/turbo", options, settings);
}

/** @type {(file: string, options: string[], settings?: Settings) => Promise<number>} */
function node(file, options, settings) {
  return run(process.execPath, [join(root, file), ...options], settings);
}

/**
 * pnpm comes through npm, which is there wherever Node is; nothing is installed globally. It is
 * fetched from outside the repository: the pnpm in `node_modules` would delete itself on the way.
 *
 * @param {string[]} rest
 */
function pnpm(rest) {
  const npm = ["exec", "--yes", "--prefer-offline", "--fetch-retries=1"];
  const options = [...npm, `--package=pnpm@${pnpmVersion}`, "--", "pnpm", "--dir", root, ...rest];
  const npmFile = process.env["npm_execpath"] ?? "";
  const settings = { cwd: tmpdir() };
  if (basename(npmFile) === "npm-cli.js") {
    return run(process.execPath, [npmFile, ...options], settings);
  }
  return run("npm", options, { ...settings, shell: process.platform === "win32" });
}

/**
 * Runs a program to its end and gives its exit code. A terminal sends Ctrl-C to every process of
 * the group, so there it only has to be survived; elsewhere the signal came to this process alone
 * (npm passes on its own), and the program gets it from here.
 *
 * @param {string} command
 * @param {string[]} options
 * @param {Settings} settings
 * @returns {Promise<number>}
 */
function run(command, options, { onOutput, ...settings } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, options, {
      cwd: root,
      env: environment,
      stdio: "inherit",
      ...settings,
    });
    if (onOutput !== undefined) {
      for (const stream of [child.stdout, child.stderr]) stream?.on("data", onOutput);
    }
    let last = 0;
    /** @type {NodeJS.Signals[]} */
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    const listeners = signals.map((signal) => {
      const listener = () => {
        if (signal === "SIGINT" && process.stdin.isTTY) return;
        if (Date.now() - last < 500) return;
        last = Date.now();
        child.kill(signal);
      };
      process.on(signal, listener);
      return () => process.off(signal, listener);
    });
    /** @param {number} code */
    const finish = (code) => {
      for (const remove of listeners) remove();
      resolve(code);
    };
    child.on("error", (error) => {
      console.error(`cannot run ${command}: ${error.message}`);
      finish(1);
    });
    child.on("close", (code, signal) => {
      finish(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/** Without what the outer npm says of itself, so that an inner npm or pnpm starts afresh. */
function childEnvironment() {
  /** @type {NodeJS.ProcessEnv} */
  const result = {};
  for (const [key, value] of Object.entries(process.env)) {
    if (!/^npm_(lifecycle|package|node_execpath|execpath|command)/.test(key)) result[key] = value;
  }
  const pathKey = Object.keys(result).find((key) => key.toUpperCase() === "PATH") ?? "PATH";
  result[pathKey] = [
    join(root, "node_modules", ".bin"),
    dirname(process.execPath),
    result[pathKey] ?? "",
  ].join(delimiter);
  result["TURBO_TELEMETRY_DISABLED"] = "1";
  result["DO_NOT_TRACK"] = "1";
  result["npm_config_update_notifier"] = "false";
  return result;
}

/**
 * @param {string} text
 * @returns {never}
 */
function fail(text) {
  console.error(text);
  process.exit(1);
}
