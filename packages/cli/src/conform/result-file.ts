import { open, rename, rm, stat } from "node:fs/promises";
import { ConfigError } from "@moiety/core";

/** A file that is asked for before a long run and written after it. */
export interface ResultFile {
  /** Writes the text and puts the file in its place. */
  write(text: string): Promise<void>;
  /** Leaves no trace, where nothing was written. */
  abandon(): Promise<void>;
}

/**
 * Opens a file beside its place, so that one that cannot be written is known before the run.
 * @throws ConfigError naming the option
 */
export async function openResultFile(path: string, option: string): Promise<ResultFile> {
  const part = `${path}.${process.pid}.part`;
  try {
    await refuseFolder(path);
    await (await open(part, "w")).close();
  } catch (cause) {
    throw unwritable(path, option, cause);
  }
  return {
    async write(text) {
      try {
        const file = await open(part, "w");
        await file.writeFile(text).finally(() => file.close());
        await rename(part, path);
      } catch (cause) {
        throw unwritable(path, option, cause);
      }
    },
    abandon: () => rm(part, { force: true }),
  };
}

async function refuseFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new Error("it is a folder");
}

function unwritable(path: string, option: string, cause: unknown): ConfigError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ConfigError(
    `cannot write ${path} (${why}); give --${option} a file in a folder that can be written`,
    option,
    path,
    { cause },
  );
}
