import { dirname } from "node:path";
import { type Checkpoint, type FileFolder, httpFolder, openFolder } from "@moiety/checkpoints";
import { diskFolder, openCheckpoint } from "@moiety/checkpoints/node";

/** A model folder that a command was given, open. */
export interface ModelFolder {
  readonly folder: FileFolder;
  readonly checkpoint: Checkpoint;
}

/** What the argument of commands is, for their help. */
export const FOLDER_HELP =
  "a model folder as Hugging Face publishes it, a safetensors file in one, or its http address";

/**
 * Opens a model folder: its headers are read, its tensors are not.
 * @throws ConfigError, FormatError naming the file
 */
export async function openModelFolder(given: string): Promise<ModelFolder> {
  if (/^https?:\/\//.test(given)) {
    const folder = httpFolder(given);
    return { folder, checkpoint: await openFolder(folder) };
  }
  const path = given.endsWith(".safetensors") ? dirname(given) : given;
  return { folder: diskFolder(path), checkpoint: await openCheckpoint(path) };
}
