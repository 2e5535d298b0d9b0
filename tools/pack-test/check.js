import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outcome, root, run, runTool } from "../process.js";
import { cases } from "./cases.js";

const compilerOptions = {
  target: "es2023",
  lib: ["es2023"],
  types: [],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  verbatimModuleSyntax: true,
  outDir: "out",
  rootDir: ".",
};

/**
 * Uses the tarballs as a stranger would.
 *
 * @param {import("../packages/pack.js").Packed} packed
 * @returns {Promise<string[]>}
 */
export async function checkConsumers(packed) {
  const found = [];
  for (const one of cases) {
    const project = mkdtempSync(join(tmpdir(), "moiety-consumer-"));
    try {
      const lines = await checkConsumer(packed, one, project);
      found.push(...lines.map((line) => `${one.name}: ${line}`));
    } finally {
      rmSync(project, { recursive: true, force: true });
    }
  }
  return found;
}

/**
 * @param {import("../packages/pack.js").Packed} packed
 * @param {(typeof cases)[number]} one
 * @param {string} project
 * @returns {Promise<string[]>}
 */
async function checkConsumer({ tarballs }, one, project) {
  const manifest = { name: "blank", private: true, type: "module" };
  writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
  const files = one.packages.map((name) => {
    const tarball = tarballs.find((candidate) => candidate.name === name);
    if (tarball === undefined)
      throw new Error(`tools/pack-test/cases.js names ${name}: no package`);
    return tarball.file;
  });
  const problems = outcome("npm install", await npmInstall(project, files));
  if (problems.length > 0) return problems;

  const installed = readdirSync(join(project, "node_modules/@moiety"));
  const wanted = one.packages.map((name) => name.replace("@moiety/", ""));
  if (installed.sort().join() !== wanted.sort().join()) {
    return [`installed ${installed.join(", ")} instead of ${wanted.join(", ")}`];
  }

  copyFileSync(join(root, "tools/pack-test/consumers", one.consumer), join(project, "consumer.ts"));
  const bundler = await compile(project, { module: "esnext", moduleResolution: "bundler" });
  const node = await compile(project, { module: "nodenext", moduleResolution: "nodenext" });
  if (bundler.length + node.length > 0) return [...bundler, ...node];
  const result = await run(process.execPath, ["out/consumer.js"], { folder: project });
  return outcome("the program", result);
}

/**
 * Without network: what the tarballs need beyond each other is missing, and that is an error.
 *
 * @param {string} project
 * @param {readonly string[]} files
 */
function npmInstall(project, files) {
  const options = ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", ...files];
  return run("npm", options, { folder: project, shell: process.platform === "win32" });
}

/**
 * @param {string} project
 * @param {Record<string, string>} moduleOptions
 */
function compile(project, moduleOptions) {
  const settings = {
    compilerOptions: { ...compilerOptions, ...moduleOptions },
    files: ["consumer.ts"],
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify(settings));
  return runTool("typescript/bin/tsc", ["-p", project, "--pretty", "false"], project);
}
