import { existsSync, readdirSync } from "node:fs";
import { driverChoice, softwareEnvironment } from "./software.js";

/** Where Vulkan drivers register themselves on Linux. */
const driverFolders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/**
 * What has to be added to the environment of a task's program, before it starts, for WebGPU to work
 * in it. Tests always run on the packaged software driver, so that they are the same everywhere;
 * any other task runs on it only where its arguments ask for WebGPU and the machine has no Vulkan
 * driver of its own. `MOIETY_WEBGPU=software` and `MOIETY_WEBGPU=system` overrule both.
 *
 * @param {string} task
 * @param {readonly string[]} rest the task's arguments
 * @param {{ environment?: NodeJS.ProcessEnv, folders?: readonly string[] }} [machine]
 * @returns {Promise<Record<string, string>>}
 */
export async function launchEnvironment(task, rest, machine = {}) {
  const { environment = process.env, folders = driverFolders } = machine;
  const choice =
    driverChoice(environment) ??
    (task === "test" || (asksForWebGpu(rest) && !hasDriver(environment, folders))
      ? "software"
      : "system");
  // The choice goes along: vitest's configuration, which any task may start, decides by it.
  const settled = { ...environment, MOIETY_WEBGPU: choice };
  return { MOIETY_WEBGPU: choice, ...(await softwareEnvironment(settled)) };
}

/**
 * `--backend webgpu`, `--backend=auto`, the `webgpu` in `bench -- webgpu`, a module called after it.
 *
 * @param {readonly string[]} rest
 */
function asksForWebGpu(rest) {
  return rest.some((argument) => /webgpu|(^|=)auto$/.test(argument));
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {readonly string[]} folders
 */
function hasDriver(environment, folders) {
  const named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
  return (
    named.some((name) => (environment[name] ?? "") !== "") ||
    folders.some(
      (folder) => existsSync(folder) && readdirSync(folder).some((file) => file.endsWith(".json")),
    )
  );
}
