import { randomUUID } from "node:crypto";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type PathFault, pathError, pathFault } from "./errors.ts";

/** A file that was written whole under a temporary name beside its place. */
export interface StagedFile {
  /** Puts it into its place, over what stood there. */
  commit(): Promise<void>;
  /** Removes it. Does nothing once it is in its place. */
  discard(): Promise<void>;
}

/** One system call writes at most this many bytes. */
const MOST_AT_ONCE = 1 << 26;

/**
 * Writes a file under a temporary name (`.NAME.….tmp`) in the folder where it belongs, and onto the
 * disk. Whatever fails, the temporary file is removed and the one in its place is untouched.
 *
 * Throws `ConfigError` naming the folder that cannot be written, and what `chunks` throws.
 */
export async function stageFile(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<StagedFile> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomUUID()}.tmp`);
  // What could not be made need not be removed, and must not hide why it could not be made.
  const discard = (): Promise<void> => rm(temporary, { force: true }).catch(() => undefined);
  const advice = "choose a folder that can be written";
  const fault: PathFault = { action: "write into", path: folder, key: "folder", advice };
  try {
    await requirePlace(path);
    await write(temporary, chunks);
  } catch (error) {
    await discard();
    throw pathError(error, fault);
  }
  return {
    discard,
    async commit() {
      try {
        await rename(temporary, path);
        await syncFolder(folder);
      } catch (error) {
        await discard();
        throw pathError(error, fault);
      }
    },
  };
}

/** Throws `ConfigError` where something that is no file stands at `path`, so that none can go there. */
async function requirePlace(path: string): Promise<void> {
  const status = await stat(path).catch(() => undefined);
  if (status === undefined || status.isFile()) return;
  const advice = "remove it or choose another place";
  throw pathFault("EISDIR", { action: "write", path, key: "path", advice });
}

async function write(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const handle = await open(path, "wx");
  try {
    for await (const chunk of chunks) await writeAll(handle, chunk);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    const length = Math.min(chunk.length - done, MOST_AT_ONCE);
    const { bytesWritten } = await handle.write(chunk, done, length);
    done += bytesWritten;
  }
}

/** Makes the new name survive a loss of power, where the system can open folders (Windows cannot). */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  try {
    await handle?.sync().catch(() => undefined);
  } finally {
    await handle?.close();
  }
}
