import { type FileHandle, open } from "node:fs/promises";
import { FormatError, UseAfterDisposeError } from "@moiety/core";
import type { OpenFile } from "../folder/folder.ts";
import { type PathFault, pathError, pathFault } from "./errors.ts";

/** One system call reads at most this many bytes. */
const MOST_AT_ONCE = 1 << 30;

/**
 * Opens a file for reading by ranges, straight into their place. Its name is the path.
 *
 * Throws `ConfigError` for a path that cannot be opened as a file. Reads throw `FormatError` where the
 * file has meanwhile become shorter, and `UseAfterDisposeError` once it is closed.
 */
export async function fileSource(path: string): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const status = await handle.stat();
    if (!status.isFile()) throw pathFault("EISDIR", unreadable(path));
    return source(handle, path, status.size);
  } catch (error) {
    await handle?.close();
    throw pathError(error, unreadable(path));
  }
}

function unreadable(path: string): PathFault {
  return { action: "read", path, key: "path", advice: "check the path" };
}

function source(handle: FileHandle, path: string, size: number): OpenFile {
  let isClosed = false;
  const readSome = async (target: Uint8Array, offset: number): Promise<number> => {
    if (isClosed) {
      throw new UseAfterDisposeError(`${path} was closed; read what you need before closing it`);
    }
    try {
      return (await handle.read(target, 0, target.length, offset)).bytesRead;
    } catch (error) {
      throw pathError(error, unreadable(path));
    }
  };
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    let done = 0;
    while (done < target.length) {
      const bytesRead = await readSome(target.subarray(done, done + MOST_AT_ONCE), offset + done);
      if (bytesRead === 0) {
        throw new FormatError(
          `${path}: ends at byte ${offset + done}, but had ${size} bytes when it was opened; ` +
            "something changed it, open it again",
          offset + done,
        );
      }
      done += bytesRead;
    }
  };
  return {
    size,
    name: path,
    readInto,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      await readInto(offset, bytes);
      return bytes;
    },
    async close() {
      isClosed = true;
      await handle.close();
    },
  };
}
