// WebGPU without a GPU: SwiftShader and a headless Chromium lie compressed in `@sparticuz/chromium`.
import { createWriteStream, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { root } from "../process.js";
import { decompress, extraction, unpackOnce } from "./unpack.js";

const packageFolder = join(root, "node_modules/@sparticuz/chromium");

/** @type {typeof import("./software.d.ts").driverChoice} */
export function driverChoice(environment = process.env) {
  const choice = environment["MOIETY_WEBGPU"] ?? "";
  if (choice === "") return undefined;
  if (choice === "software" || choice === "system") return choice;
  throw new Error(`MOIETY_WEBGPU must be "software" or "system", not "${choice}"`);
}

/** @type {typeof import("./software.d.ts").softwareEnvironment} */
export async function softwareEnvironment(environment = process.env) {
  if (driverChoice(environment) === "system" || !isPackaged()) return undefined;
  const folder = join(cacheFolder(), "swiftshader");
  await unpack(folder, (unfinished) => extract("swiftshader.tar.br", unfinished));
  return {
    LD_LIBRARY_PATH: withFirst(folder, environment["LD_LIBRARY_PATH"]),
    VK_DRIVER_FILES: join(folder, "vk_swiftshader_icd.json"),
    XDG_RUNTIME_DIR: environment["XDG_RUNTIME_DIR"] || folder,
  };
}

/** @type {typeof import("./software.d.ts").browser} */
export async function browser(environment = process.env) {
  const given = environment["MOIETY_CHROMIUM"] ?? "";
  if (given !== "") {
    return { executable: given, packaged: false, environment: strings(environment) };
  }
  if (!isPackaged()) return undefined;
  const folder = join(cacheFolder(), "chromium");
  await unpack(folder, (unfinished) => fillChromium(unfinished, folder));
  // A driver named for Node is not for this program, which brings its own.
  const { VK_DRIVER_FILES: _, VK_ICD_FILENAMES: __, ...others } = strings(environment);
  return {
    executable: join(folder, "chromium"),
    packaged: true,
    environment: {
      ...others,
      LD_LIBRARY_PATH: join(folder, "lib"),
      FONTCONFIG_FILE: join(folder, "fontconfig.xml"),
    },
  };
}

/** @type {typeof import("./software.d.ts").cacheFolder} */
export function cacheFolder() {
  const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
  return join(root, "node_modules/.cache/moiety-webgpu", version);
}

/**
 * Chromium looks for SwiftShader beside itself, and for fonts wherever it runs.
 *
 * @param {string} unfinished
 * @param {string} folder its place when finished
 */
async function fillChromium(unfinished, folder) {
  for (const archive of ["swiftshader.tar.br", "al2023.tar.br", "fonts.tar.br"]) {
    await extract(archive, unfinished);
  }
  const place = folder.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  await writeFile(
    join(unfinished, "fontconfig.xml"),
    `<fontconfig><dir>${place}/fonts</dir><cachedir>${place}/fonts-cache</cachedir></fontconfig>\n`,
  );
  const program = createWriteStream(join(unfinished, "chromium"), { mode: 0o755 });
  await decompress(join(packageFolder, "bin/chromium.br"), program);
}

/**
 * @param {string} archive
 * @param {string} folder
 */
function extract(archive, folder) {
  return decompress(join(packageFolder, "bin", archive), extraction(folder));
}

/**
 * @param {string} folder
 * @param {(unfinished: string) => Promise<void>} fill
 */
async function unpack(folder, fill) {
  try {
    await unpackOnce(folder, fill);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new Error(`cannot unpack @sparticuz/chromium into ${folder}: ${cause}`, { cause: error });
  }
}

/** The package holds programs of one system only. */
function isPackaged() {
  return process.platform === "linux" && process.arch === "x64";
}

/**
 * @param {string} folder
 * @param {string} [paths]
 */
function withFirst(folder, paths = "") {
  const others = paths.split(delimiter).filter((path) => path !== "" && path !== folder);
  return [folder, ...others].join(delimiter);
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Record<string, string>}
 */
function strings(environment) {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  );
}
