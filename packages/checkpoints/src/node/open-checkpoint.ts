import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";
import { type Checkpoint, openFolder } from "../folder/checkpoint.ts";
import type { FileFolder } from "../folder/folder.ts";
import { pathError, systemCode } from "./errors.ts";
import { fileSource } from "./file-source.ts";

/**
 * Opens a model folder on disk, as `openFolder` does.
 *
 * Throws `ConfigError` for a folder or file that is not there or cannot be read, and `FormatError`
 * for a damaged one or an index that its shards contradict.
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  await requireFolder(folder);
  return openFolder(diskFolder(folder));
}

/** A folder on disk. */
export function diskFolder(folder: string): FileFolder {
  const nameOf = (file: string): string => join(folder, file);
  return {
    name: folder,
    nameOf,
    async open(file) {
      const path = nameOf(file);
      return (await exists(path)) ? fileSource(path) : undefined;
    },
  };
}

async function requireFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return;
  } catch (error) {
    const fault = { action: "open the checkpoint", path: folder, key: "folder" } as const;
    throw pathError(error, { ...fault, advice: "check the path" });
  }
  throw new ConfigError(
    `cannot open the checkpoint ${folder}: it is not a folder; give the folder with config.json`,
    "folder",
    folder,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw pathError(error, { action: "read", path, key: "path", advice: "check the path" });
  }
}
