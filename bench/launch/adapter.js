import { existsSync } from "node:fs";
import { join } from "node:path";
import { run, root } from "../../tools/process.js";
import { launchEnvironment } from "../../tools/webgpu/launch.js";

/** What `--adapter` takes. */
const choices = ["system", "lavapipe", "swiftshader"];

/**
 * What has to stand in the environment before a program starts, for WebGPU to work in it.
 *
 * Without a choice it is the machine's own driver; where there is none lavapipe, if an earlier
 * choice brought it here, and else the packaged SwiftShader.
 *
 * @param {string | undefined} choice
 * @returns {Promise<Record<string, string>>}
 */
export async function adapterEnvironment(choice) {
  if (choice === "system") return { MOIETY_WEBGPU: "system" };
  if (choice === "lavapipe") return lavapipe();
  if (choice === "swiftshader") return software();
  if (choice !== undefined) {
    throw new Error(`--adapter is ${choices.join(", ")}, not "${choice}"`);
  }
  const found = await launchEnvironment("bench", ["webgpu"]);
  const asked = (process.env["MOIETY_WEBGPU"] ?? "") !== "";
  if (found["MOIETY_WEBGPU"] === "system" || asked) return found;
  if (await isLavapipeHere()) return lavapipe();
  process.stderr.write(
    "no GPU driver is installed: measuring on SwiftShader, on which onnxruntime computes wrong. " +
      "On Debian and its kin `--adapter lavapipe` fetches Mesa's driver into node_modules/.cache " +
      "(no root, no install); elsewhere install Mesa 25 or newer\n",
  );
  return found;
}

/** @returns {Promise<Record<string, string>>} */
async function software() {
  const settled = { ...process.env, MOIETY_WEBGPU: "software" };
  return launchEnvironment("bench", ["webgpu"], { environment: settled });
}

/** @returns {Promise<Record<string, string>>} */
async function lavapipe() {
  const { code, output } = await run(process.execPath, ["tools/webgpu/lavapipe.js"]);
  if (code !== 0) throw new Error(output.trim());
  return Object.fromEntries(
    output.split("\n").flatMap((line) => {
      const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value]];
    }),
  );
}

async function isLavapipeHere() {
  const { releaseName } = await import("../../tools/webgpu/apt.js");
  try {
    const name = `node_modules/.cache/moiety-webgpu/lavapipe-${await releaseName()}`;
    return existsSync(join(root, name));
  } catch {
    return false;
  }
}
