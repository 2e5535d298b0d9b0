import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { pathError, systemCode } from "./errors.ts";

/** Makes a folder and those above it, unless it is there. Throws `ConfigError` where that fails. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await make(resolve(folder));
  } catch (error) {
    const advice = "choose a folder that can be written";
    throw pathError(error, { action: "make the folder", path: folder, key: "folder", advice });
  }
}

// Node's own recursive mkdir never returns where a file system makes no folders, as in /proc.
async function make(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if (await isFolder(folder)) return;
    const parent = dirname(folder);
    const isParentMissing = systemCode(error) === "ENOENT" && !(await isFolder(parent));
    if (!isParentMissing || parent === folder) throw error;
    await make(parent);
    await make(folder);
  }
}

async function isFolder(path: string): Promise<boolean> {
  const status = await stat(path).catch(() => undefined);
  return status?.isDirectory() ?? false;
}
