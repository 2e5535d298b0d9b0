import { FormatError } from "@moiety/core";
import { LONGEST_HEADER } from "../safetensors/header.ts";
import { readBytes } from "../source.ts";
import { fileSource } from "./file-source.ts";

/** Reads the bytes of a small file. Throws `ConfigError` and `FormatError`, as `fileSource` does. */
export async function readSmallFile(path: string): Promise<Uint8Array> {
  const source = await fileSource(path);
  try {
    if (source.size > LONGEST_HEADER) {
      throw new FormatError(
        `${path}: has ${source.size} bytes, more than any such file; it is of another kind`,
        LONGEST_HEADER,
      );
    }
    return await readBytes(source, 0, source.size);
  } finally {
    await source.close();
  }
}
