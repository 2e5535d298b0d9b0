import { existsSync } from "node:fs";
import { mkdir, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** The folder of the benchmarks. */
export const folder = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Bundles a program into one file. Unless it is to be self-contained our packages stay outside: the
 * program then runs what users get, and shares it with a backend that it is given.
 *
 * @param {string} source in the folder of the benchmarks
 * @param {string} target
 * @param {boolean} selfContained
 */
export async function bundle(source, target, selfContained) {
  const outside = [/^node:/, "webgpu", "node-llama-cpp", "onnxruntime-node", "onnxruntime-web"];
  const bundled = await rolldown({
    input: join(folder, source),
    platform: "node",
    external: selfContained ? outside : [...outside, /^@moiety\//],
    resolve: { conditionNames: ["@moiety/source", "node", "import", "default"] },
    onLog(level, log) {
      if (level === "warn") throw new Error(log.message);
    },
  });
  try {
    await bundled.write({ file: target, format: "esm", codeSplitting: false });
  } finally {
    await bundled.close();
  }
}

/**
 * Puts the package `webgpu` beside self-contained programs, where it also lies on a machine that
 * they are carried to.
 *
 * @param {string} place the programs' folder
 */
export async function linkWebGpu(place) {
  const link = join(place, "node_modules/webgpu");
  if (existsSync(link)) return;
  await mkdir(dirname(link), { recursive: true });
  // A link that leads nowhere does not exist, and is in the way.
  await rm(link, { force: true });
  await symlink(
    join(dirname(folder), "packages/backend-webgpu/node_modules/webgpu"),
    link,
    "junction",
  );
}
