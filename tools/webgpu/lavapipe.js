// `env $(node tools/webgpu/lavapipe.js) npx vitest run packages/backend-webgpu` runs tests on Mesa's
// lavapipe, which has `shader-f16` and subgroups of 8, neither of which SwiftShader has. It takes
// the packages out of the distribution's archive into `node_modules/.cache`; nothing is installed.
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { root, run } from "../process.js";
import { PrivateApt, distribution, releaseName } from "./apt.js";
import { unpackOnce } from "./unpack.js";

/** Mesa before this major version lacks what Dawn asks for. */
const mesa = 25;
const driver = "mesa-vulkan-drivers";
const libraries = "usr/lib/x86_64-linux-gnu";
const description = "lavapipe.json";

try {
  const environment = await lavapipeEnvironment();
  for (const [name, value] of Object.entries(environment)) console.log(`${name}=${value}`);
} catch (error) {
  const [reason] = String(error instanceof Error ? error.message : error).split("\n");
  console.error(`lavapipe (Mesa ${mesa} or newer) is not to be had here: ${reason}`);
  process.exitCode = 1;
}

/** @returns {Promise<Record<string, string>>} */
async function lavapipeEnvironment() {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error("only Linux x64 is known");
  }
  const codename = await releaseName();
  const folder = join(root, `node_modules/.cache/moiety-webgpu/lavapipe-${codename}`);
  await unpackOnce(folder, (unfinished) => fill(unfinished, codename));
  return {
    MOIETY_WEBGPU: "system",
    MOIETY_WEBGPU_ADAPTER: "llvmpipe",
    LD_LIBRARY_PATH: `${folder}/${libraries}:${folder}/${libraries.replace("usr/", "")}`,
    VK_DRIVER_FILES: join(folder, description),
    XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] || folder,
  };
}

/**
 * @param {string} folder
 * @param {string} codename
 */
async function fill(folder, codename) {
  const { sources, backports } = await distribution(codename);
  const apt = new PrivateApt(join(folder, "apt"));
  await apt.update(sources);
  let release = codename;
  if (((await apt.candidate(driver, release)) ?? 0) < mesa) {
    release = `${codename}-backports`;
    await apt.update([...sources, backports]);
  }
  const found = await apt.candidate(driver, release);
  if (found === undefined || found < mesa) {
    throw new Error(`${codename} and its backports have Mesa ${found ?? "not at all"}`);
  }
  for (const file of await apt.download([driver, "libvulkan1"], release)) {
    // The C library in use must stay the system's: no process can hold two.
    if (basename(file).startsWith("libc6_")) continue;
    const { code, output } = await run("dpkg", ["-x", file, folder]);
    if (code !== 0) throw new Error(`dpkg -x ${basename(file)}: ${output}`);
  }
  await rm(join(folder, "apt"), { recursive: true });
  await describe(folder);
}

/**
 * The packaged description names the library where an install would have put it.
 *
 * @param {string} folder
 */
async function describe(folder) {
  const drivers = join(folder, "usr/share/vulkan/icd.d");
  const file = (await readdir(drivers)).find((name) => /^lvp_icd.*\.json$/.test(name));
  if (file === undefined) throw new Error(`${driver} holds no lavapipe`);
  const { ICD: packaged, ...rest } = JSON.parse(await readFile(join(drivers, file), "utf8"));
  const library = `./${libraries}/${basename(packaged.library_path)}`;
  const text = JSON.stringify({ ...rest, ICD: { ...packaged, library_path: library } });
  await writeFile(join(folder, description), text);
}
