import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ConformOptions, ExpectedValues } from "@moiety/conformance";
import { type Backend, ConfigError } from "@moiety/core";
import { builtInBackends, builtInNames } from "../backends.ts";

/** A backend to hold to the kit: how to make it, and what is known of where it comes from. */
export interface BackendSource {
  createBackend(): Promise<Backend>;
  readonly loseDevice: ConformOptions["loseDevice"];
  /** Version of the package that it is in, where there is one. */
  readonly version: string | undefined;
  readonly expected: ExpectedValues;
}

/**
 * Finds a backend: `cpu`, `wasm`, `webgpu`, the path of a module, or a package that stands where the
 * command is run. The module's default export makes the backend; `loseDevice` may take its device away.
 * @throws ConfigError, one line, where there is no such module or it is no backend's
 */
export async function findBackend(name: string): Promise<BackendSource> {
  const builtIn = Object.hasOwn(builtInBackends, name) ? builtInBackends[name] : undefined;
  if (builtIn) {
    const place = createRequire(import.meta.url).resolve(`${builtIn.package}/package.json`);
    return {
      ...readModule(name, await load(name, () => builtIn.load())),
      version: await versionAbove(place),
      // The oracle is not its own judge.
      expected: name === "cpu" ? "yardstick" : "oracle",
    };
  }
  const path = await resolveModule(name);
  const module = await load(name, () => import(pathToFileURL(path).href));
  return { ...readModule(name, module), version: await versionAbove(path), expected: "oracle" };
}

async function load(name: string, run: () => Promise<unknown>): Promise<object> {
  try {
    return (await run()) as object;
  } catch (cause) {
    throw problem(name, `cannot be loaded: ${firstLine(cause)}`, cause);
  }
}

function readModule(
  name: string,
  module: object,
): Pick<BackendSource, "createBackend" | "loseDevice"> {
  const { default: create, loseDevice } = module as { default?: unknown; loseDevice?: unknown };
  if (typeof create !== "function") {
    const found = Object.keys(module);
    const more = found.length > 5 ? ", …" : "";
    const list = found.length === 0 ? "nothing" : found.slice(0, 5).join(", ") + more;
    throw problem(name, `has no default export that is a function (it exports ${list})`);
  }
  if (loseDevice !== undefined && typeof loseDevice !== "function") {
    throw problem(name, "exports a loseDevice that is no function");
  }
  return {
    createBackend: async () => (create as () => Promise<Backend>)(),
    loseDevice: loseDevice as BackendSource["loseDevice"],
  };
}

/** The file of a path (a package's entry, where it is a folder), or of an installed package. */
async function resolveModule(name: string): Promise<string> {
  const path = resolve(name);
  if (/^\.{0,2}[/\\]/.test(name) || isAbsolute(name) || /\.[cm]?[jt]s$/.test(name)) {
    return (await entryIn(path)) ?? path;
  }
  const from = join(process.cwd(), "noop.js");
  try {
    return createRequire(from).resolve(name);
  } catch (cause) {
    const found = (await importedEntry(name)) ?? (await entryIn(path));
    if (found !== undefined) return found;
    const names = builtInNames.join(", ");
    throw problem(
      name,
      `is none of ${names}, no module's path (begin it with ./) and no package that is installed here`,
      cause,
    );
  }
}

/** The entry of a package that exports for `import` alone, which `require` does not find. */
async function importedEntry(name: string): Promise<string | undefined> {
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    const place = join(folder, "node_modules", name);
    const manifest = await readManifest(join(place, "package.json"));
    if (manifest !== undefined) {
      const entry = entryOf(manifest["exports"]);
      return entry === undefined ? undefined : join(place, entry);
    }
    if (dirname(folder) === folder) return undefined;
  }
}

/** The entry of the package that a folder holds; `undefined` where it holds none. */
async function entryIn(folder: string): Promise<string | undefined> {
  const manifest = await readManifest(join(folder, "package.json"));
  const entry = entryOf(manifest?.["exports"]) ?? entryOf(manifest?.["main"]);
  return entry === undefined ? undefined : join(folder, entry);
}

function entryOf(exports: unknown): string | undefined {
  if (typeof exports === "string") return exports;
  if (typeof exports !== "object" || exports === null) return undefined;
  const conditions = exports as Readonly<Record<string, unknown>>;
  for (const key of [".", "node", "import", "default"]) {
    const entry = Object.hasOwn(conditions, key) ? entryOf(conditions[key]) : undefined;
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/** The version in the nearest manifest above a file. */
async function versionAbove(path: string): Promise<string | undefined> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const version = (await readManifest(join(folder, "package.json")))?.["version"];
    if (typeof version === "string") return version;
    if (dirname(folder) === folder) return undefined;
  }
}

async function readManifest(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function problem(name: string, what: string, cause?: unknown): ConfigError {
  return new ConfigError(`backend "${name}" ${what}`, "backend", name, { cause });
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.split("\n", 1)[0] ?? text;
}
