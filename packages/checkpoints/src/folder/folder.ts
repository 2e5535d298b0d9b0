import { ConfigError, FormatError } from "@moiety/core";
import { LONGEST_HEADER } from "../safetensors/header.ts";
import { type BlobLike, type ByteSource, blobSource, readBytes } from "../source.ts";

/** A file that is open. Close it when it was read. */
export interface OpenFile extends ByteSource {
  /** What errors call it. */
  readonly name: string;
  /** Closes it; reads fail from then on. Closing twice does nothing. */
  close(): Promise<void>;
}

/** Files by name, wherever they lie: on a disk, on a server, in a browser. */
export interface FileFolder {
  /** What errors call it, such as its path. */
  readonly name: string;
  /** What errors call a file in it. */
  nameOf(file: string): string;
  /** Opens a file; `undefined` where there is none of this name. */
  open(file: string): Promise<OpenFile | undefined>;
}

/** A `File`. */
export interface FileLike extends BlobLike {
  /** Its name, without folders. */
  readonly name: string;
}

/**
 * The files that a user picked, or a drop or a test brought together.
 *
 * @example
 * const checkpoint = await openFolder(filesFolder(input.files));
 */
export function filesFolder(files: Iterable<FileLike>, name: string = "the files"): FileFolder {
  const byName = new Map([...files].map((file) => [file.name, file]));
  return {
    name,
    nameOf: (file) => file,
    async open(file) {
      const blob = byName.get(file);
      return blob && openBlob(blob, file);
    },
  };
}

/** What of a `FileSystemFileHandle` is used, so that no DOM types are needed. */
export interface FileHandleLike {
  /** The file as it is now. */
  getFile(): Promise<BlobLike>;
}

/** What of a `FileSystemDirectoryHandle` is used. */
export interface DirectoryLike {
  /** Its name. */
  readonly name: string;
  /** Rejects with an error named `NotFoundError` where there is none of this name. */
  getFileHandle(name: string): Promise<FileHandleLike>;
}

/**
 * A folder of a browser: one that a user opened, or one in the origin's private file system.
 *
 * @example
 * const root = await navigator.storage.getDirectory();
 * const checkpoint = await openFolder(directoryFolder(await root.getDirectoryHandle("olmoe")));
 */
export function directoryFolder(directory: DirectoryLike): FileFolder {
  const nameOf = (file: string): string => `${directory.name}/${file}`;
  return {
    name: directory.name,
    nameOf,
    async open(file) {
      try {
        const handle = await directory.getFileHandle(file);
        return openBlob(await handle.getFile(), nameOf(file));
      } catch (error) {
        if (error instanceof Error && error.name === "NotFoundError") return undefined;
        throw error;
      }
    },
  };
}

/** Opens a file that has to be there. Throws `ConfigError` where it is not. */
export async function openFile(folder: FileFolder, file: string): Promise<OpenFile> {
  const found = await folder.open(file);
  if (found !== undefined) return found;
  const path = folder.nameOf(file);
  throw new ConfigError(`cannot read ${path}: it does not exist; check the path`, "path", path);
}

/** The bytes of a small file; it is closed again. Throws `FormatError` where it is not small. */
export async function readWhole(file: OpenFile): Promise<Uint8Array> {
  try {
    if (file.size > LONGEST_HEADER) {
      throw new FormatError(
        `${file.name}: has ${file.size} bytes, more than any such file; it is of another kind`,
        LONGEST_HEADER,
      );
    }
    return await readBytes(file, 0, file.size);
  } finally {
    await file.close();
  }
}

function openBlob(blob: BlobLike, name: string): OpenFile {
  return { ...blobSource(blob, name), name, close: async () => undefined };
}
